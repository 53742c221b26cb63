#!/bin/bash
# Run by with_caffe.sh as root inside a new Debian 11: builds Caffe against Python 2.7, in /opt/caffe as in the image
# bvlc/caffe:gpu. The sources are Debian 11's; pip's packages are those of caffe_py27.txt, which lies beside this file,
# where the host's certificates (ca.crt) may lie too. Leaves only what running it needs.
set -eux -o pipefail
cd "$(dirname "$0")"
requirements=$PWD/caffe_py27.txt
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_DEPS=1 PIP_REQUIRE_HASHES=1 PIP_PROGRESS_BAR=off
if [[ -e ca.crt ]]; then export PIP_CERT=$PWD/ca.crt; fi
build_packages=(dpkg-dev g++ python2.7-dev python3-pip protobuf-compiler libprotobuf-dev libboost-system-dev
    libboost-thread-dev libboost-filesystem-dev libgflags-dev libgoogle-glog-dev libhdf5-dev liblmdb-dev
    libopenblas-dev)

# First all that needs the network.
sed 's/^deb /deb-src /' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
apt-get update
apt-get -y --no-install-recommends install "${build_packages[@]}"
mkdir /build
cd /build
apt-get source --only-source caffe
apt-get source --only-source --download-only boost1.74
mv caffe-*/ /opt/caffe

named() { grep -E "^($1)==" "$requirements" >"$2"; }
# Debian's pip no longer runs on Python 2.7, so it only fetches the last one that does.
named pip pip.txt
pip3 download -r pip.txt
named 'pip|setuptools|wheel' tools.txt
python2.7 "$(echo pip-*.whl)/pip" install -r tools.txt
# The wheel of protobuf has a libprotobuf of its own, with which Caffe's crashes: this is built to use Debian's.
named protobuf protobuf.txt
python2.7 -m pip install --no-binary protobuf --global-option=--cpp_implementation -r protobuf.txt
python2.7 -m pip install -r "$requirements"

# Debian's Boost.Python is for Python 3.
tar --no-same-owner -xf boost1.74_*.orig.tar.* --strip-components=3 --wildcards '*/libs/python/src'
find src -name '*.cpp' ! -path 'src/numpy/*' -print0 |
    xargs -0 -P "$(nproc)" -I '{}' g++ -c -O2 -w -fPIC -fno-strict-aliasing -DNDEBUG -DBOOST_PYTHON_SOURCE \
        -I/usr/include/python2.7 '{}' -o '{}.o'
find src -name '*.o' -exec g++ -shared -o /usr/local/lib/libboost_python27.so '{}' +
ldconfig

cd /opt/caffe
cat >Makefile.config <<END
CPU_ONLY := 1
USE_OPENCV := 0
USE_LEVELDB := 0
WITH_PYTHON_LAYER := 1
BLAS := open
BUILD_DIR := build
DISTRIBUTE_DIR := distribute
PYTHON_LIBRARIES := boost_python27 python2.7
INCLUDE_DIRS := /usr/include/python2.7 $(python2.7 -c 'import numpy; print(numpy.get_include())') \
    /usr/include/hdf5/serial
LIBRARY_DIRS := /usr/lib/$(gcc -print-multiarch)/hdf5/serial
Q := @
END
make -j"$(nproc)" .build_release/tools/caffe pycaffe
python2.7 -m compileall -q python

rm -r /build .build_release/src data docs examples matlab models
find .build_release -name '*.o' -delete
apt-get -y purge --auto-remove "${build_packages[@]}"
rm /etc/apt/sources.list.d/source.list

# Both start without the packages of the build.
PYTHONPATH=/opt/caffe/python python2.7 -c 'import caffe; print(caffe.__version__)'
/opt/caffe/build/tools/caffe --version

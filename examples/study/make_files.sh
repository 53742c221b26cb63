#!/bin/sh
# Makes conv_deploy.prototxt from conv_train_val.prototxt:
#     with_caffe.sh sh examples/study/make_files.sh
set -e
dir=$(dirname "$0")
if [ "$dir" = . ]; then echo "make_files.sh: run it where caffe runs: the files name H from there" >&2; exit 2; fi
with_caffe.sh make_deploy.py "$dir/conv_train_val.prototxt" --shape data=1,1,28,28 -o "$dir/conv_deploy.prototxt"

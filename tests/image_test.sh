#!/bin/bash
# shellcheck disable=SC2016,SC2317
# Builds the Dockerfile, with buildah and no daemon, and tests what came out. No registry is needed: the images that the
# Dockerfile starts from are made here. bvlc/caffe:gpu is played by the root file system of with_caffe.sh, as it is in
# that image, without what the image lacks; Debian by a new one. Run as root; nothing outside a temporary folder changes.
#
#     tests/image_test.sh [ROOT]: another root file system that has Caffe, as one that with_caffe.sh made
set -u
shopt -s nullglob
# Tests look for processes and name folders in /tmp: those of another run on this machine are not theirs.
apart=(unshare --mount --pid --fork --kill-child --mount-proc)
if [[ -z ${IMAGE_TEST_APART-} ]] && "${apart[@]}" true 2>/dev/null; then
    IMAGE_TEST_APART=1 exec "${apart[@]}" "$0" "$@"
fi
cd "$(dirname "$0")/.." || exit
checkout=$(pwd -P)
# shellcheck source=tests/checks.sh
. tests/checks.sh
name=caffe-losses-test

say() { printf 'image_test: %s\n' "$*" >&2; }
die() { say "$@"; exit 2; }

need() { # PACKAGE...: each has a command of its own name
    local package missing=()
    for package; do type -P "$package" >/dev/null || missing+=("$package"); done
    ((${#missing[@]})) || return 0
    type -P apt-get >/dev/null || die "this needs ${missing[*]}"
    say "installing ${missing[*]}"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}"
    } </dev/null >/dev/null 2>&1 || die "could not install ${missing[*]}; run: apt-get install ${missing[*]}"
}

((EUID == 0)) || die 'run this as root: it makes images with the files of several users'
need buildah mmdebstrap

case ${XDG_CACHE_HOME-} in
    /*) cache=$XDG_CACHE_HOME/caffe-losses ;;
    *) cache=$HOME/.cache/caffe-losses ;;
esac
root=${1-}
if [[ -z $root ]]; then
    root=$cache/$(tools/with_caffe.sh --python 2.7 grep -o -m 1 'debian11-[^/]*' /proc/self/mountinfo) ||
        die 'no root file system of Caffe with Python 2.7; is there one on the PATH? Then name a root file system'
fi
[[ -d $root/usr ]] || die "$root is no root file system"

# Images are big: not in /tmp, which may be memory.
mkdir -p "$cache"
tmp=$(mktemp -d "$cache/image_test.XXXXXX")
export BUILDAH_ISOLATION=chroot TMPDIR=$tmp
# The kernel's overlays, or where there are none (STORAGE_DRIVER=vfs) a copy for each image.
buildah() {
    command buildah ${STORAGE_DRIVER:+--storage-driver "$STORAGE_DRIVER"} --root "$tmp/storage" --runroot "$tmp/run" "$@"
}
clean() {
    buildah umount --all >/dev/null 2>&1
    # What of this machine were still mounted in it must not be deleted.
    if grep -qF " $tmp/" /proc/mounts; then say "left, as something is mounted in it: $tmp"; else rm -rf "$tmp"; fi
}
trap 'exit 130' INT
trap 'exit 143' TERM
trap clean EXIT

# The machine's own way to its package index goes with the build, not into the image.
mounts=()
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    if [[ -f $file ]]; then mounts+=(--volume "$file:$file:ro"); fi
done

in_base() { buildah run "${mounts[@]}" "$base" -- sh -c "$1"; }

say "making the images that the Dockerfile starts from"
mmdebstrap --quiet --variant=apt --mode=root bookworm "$tmp/debian.tar" || die 'could not make Debian 12'
debian=$(buildah from scratch)
buildah add --quiet "$debian" "$tmp/debian.tar" / >/dev/null
rm "$tmp/debian.tar"
buildah commit --quiet --rm "$debian" debian:12.11-slim >/dev/null || exit

base=$(buildah from scratch)
cp -a "$root/." "$(buildah mount "$base")/"
buildah config --env CAFFE_ROOT=/opt/caffe --env PYTHONPATH=/opt/caffe/python: --workingdir /workspace --cmd bash \
    --env PATH=/opt/caffe/build/tools:/opt/caffe/python:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$base"
in_base 'chmod 1777 /tmp /var/tmp; rm -rf /usr/share/datasets'
if [[ -d $root/opt/caffe ]]; then
    python=python2.7
    # lmdb is compiled: the public image has a compiler.
    in_base 'python -m pip -q uninstall -y pytest hypothesis lmdb tqdm attrs pluggy more-itertools && apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install gcc libc6-dev python2.7-dev make'
else
    python=python3
    in_base 'dpkg --purge --force-depends python3-pytest python3-hypothesis python3-lmdb python3-tqdm python3-matplotlib \
        && apt-get -qq update &&
        apt-get -qq download python3-pip python3-wheel python3-setuptools python3-distutils python3-lib2to3 \
            python-pip-whl python3-pkg-resources && dpkg --force-depends -i ./*.deb && rm ./*.deb'
fi >"$tmp/log" 2>&1 || die "could not prepare the base image: $(tail -n 5 "$tmp/log")"
versions='import numpy, google.protobuf as p; print(numpy.__version__, list(numpy.__path__), p.__version__, list(p.__path__))'
before=$(in_base "$python -c '$versions'")
buildah commit --quiet --rm "$base" bvlc/caffe:gpu >/dev/null || exit

say 'building the Dockerfile'
buildah build --quiet --layers=false --pull-never "${mounts[@]}" --tag "$name" "$checkout" >"$tmp/log" 2>&1
status=$?
check 'it is built' 0 "$status"
if ((status)); then
    tail -n 40 "$tmp/log"
    finish
fi

image=$(buildah from --pull-never "localhost/$name")
run() { # USER COMMAND...: as `docker run -u USER` does; standard output and error together
    local user=$1
    shift
    out=$(buildah run --user "$user" "$image" -- "$@" 2>&1)
    status=$?
}
fresh() { # as in a new container
    buildah run --user 0 "$image" -- sh -c 'rm -rf /tmp/* examples/*/output/* examples/*/output/.lock \
        examples/*/*_lmdb .pytest_cache .hypothesis'
}
config() { buildah inspect --format "{{.OCIv1.Config.$1}}" "$image"; }

check 'the image'\''s command' '[make help]' "$(config Cmd)"
check 'its folder' /opt/caffe-losses "$(config WorkingDir)"
check_like 'PATH is appended to' '*PATH=/opt/caffe/build/tools:*:/bin:/opt/caffe-losses/tools *' "$(config Env)"
check_like 'PYTHONPATH is appended to' \
    '*PYTHONPATH=/opt/caffe/python::/opt/caffe-losses/layers:/opt/caffe-losses/prototxt:/opt/caffe-losses/tools:/opt/caffe-losses-packages *' "$(config Env)"
check 'nothing of this machine'\''s pip is in it' '' "$(config Env | grep -o PIP_)"
run 0 "$python" -c "$versions"
check 'numpy and protobuf are the base'\''s' "$before" "$out"
run 0 ls .git
check_like 'no history is in it' '*No such file*' "$out"
run 1234 make help
check_like 'as its command says' '0 make test *' "$status $out"
run 1234 make -n train GPU=0
check_like 'make train GPU=0' '*compare.sh --gpu 0*' "$out"

for user in 1234:1234 0; do
    fresh
    say "the tests, as user $user"
    run $user make test
    check "user $user: make test" 0 "$status"
    tail -n $((status ? 60 : 1)) <<<"$out"
    say "the example, as user $user"
    run $user make train 'ARGS=--seeds 1'
    check_like "user $user: make train" '0 *examples/long_tail/output/report.html: the page*' "$status $out"
    run $user sh -c 'stat -c %u examples/long_tail/output/report.html'
    check "user $user: the page is theirs" "${user%:*}" "$out"
    say "the study, as user $user"
    run $user make study ARGS=--quick
    check_like "user $user: make study" '0 *Done in*examples/study/output/quick/scenes.png' "$status $out"
    run $user sh -c 'stat -c %u examples/study/output/quick/results.png'
    check "user $user: the study'\''s picture is theirs" "${user%:*}" "$out"
done

# One's own net, in one's own folder.
mkdir "$tmp/mine"
chown 1234:1234 "$tmp/mine"
cat >"$tmp/mine/net.sh" <<'END'
set -e
"$1" /opt/caffe-losses/tools/make_h.py --counts 6000,900,60 --weights balanced -o infogainH.binaryproto
cat >net.prototxt <<NET
layer { name: "data" type: "DummyData" top: "score" top: "label" dummy_data_param {
  shape { dim: 8 dim: 3 } shape { dim: 8 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "learned" type: "InnerProduct" bottom: "score" top: "s" inner_product_param { num_output: 3 } }
$("$1" /opt/caffe-losses/tools/make_net.py --loss SoftmaxWithInfogainLoss --source infogainH.binaryproto --score s)
NET
echo 'net: "net.prototxt" base_lr: .1 lr_policy: "fixed" max_iter: 3 solver_mode: CPU snapshot_prefix: "mine"' >solver.prototxt
caffe train -solver solver.prototxt
END
out=$(buildah run --user 1234:1234 --volume "$tmp/mine:/workspace" --workingdir /workspace "$image" -- \
    sh net.sh "$python" 2>&1)
check_like 'one'\''s own net' '0 *Optimization Done*' "$? $out"
check 'its snapshot is of the user' 1234 "$(stat -c %u "$tmp/mine/mine_iter_3.caffemodel")"

finish

#!/bin/sh
# Makes the other files of this folder from softmax_train_val.prototxt, solver.prototxt and tree.txt:
#     with_caffe.sh sh examples/fashion_mnist/make_files.sh
set -e
dir=$(dirname "$0")
if [ "$dir" = . ]; then echo "make_files.sh: run it where caffe runs: the files name H from there" >&2; exit 2; fi
run() { with_caffe.sh "$@"; }

run make_h.py --tree "$dir/tree.txt" --names "$dir/classes.txt" --tau 0.75 -o "$dir/infogainH.binaryproto"
run use_loss.py "$dir/softmax_train_val.prototxt" --source "$dir/infogainH.binaryproto" \
    -o "$dir/infogain_train_val.prototxt"
sed 's/softmax/infogain/' "$dir/solver.prototxt" >"$dir/infogain_solver.prototxt"
run make_deploy.py "$dir/softmax_train_val.prototxt" --shape data=1,1,28,28 -o "$dir/deploy.prototxt"

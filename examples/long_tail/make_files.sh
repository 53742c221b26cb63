#!/bin/sh
# Makes the other files of this folder from softmax_train_val.prototxt and solver.prototxt:
#     with_caffe.sh sh examples/long_tail/make_files.sh
set -e
dir=$(dirname "$0")
if [ "$dir" = . ]; then echo "make_files.sh: run it where caffe runs: the files name H from there" >&2; exit 2; fi
run() { with_caffe.sh "$@"; }

# The class weights, on the diagonal of H. From the data, once they are there: make_h.py --net softmax_train_val.prototxt
run make_h.py --counts 6000,3597,2156,1293,775,465,278,167,100,60 --weights balanced -o "$dir/infogainH.binaryproto"
run use_loss.py "$dir/softmax_train_val.prototxt" --source "$dir/infogainH.binaryproto" \
    -o "$dir/infogain_train_val.prototxt"
sed 's/softmax/infogain/' "$dir/solver.prototxt" >"$dir/infogain_solver.prototxt"
run make_deploy.py "$dir/softmax_train_val.prototxt" --shape data=1,1,28,28 -o "$dir/deploy.prototxt"

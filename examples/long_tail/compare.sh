#!/bin/sh
# Trains the net of this folder with class weights of several kinds and several seeds, and compares them; more options
# go to compare.py:
#     with_caffe.sh sh examples/long_tail/compare.sh --seeds 3
set -e
dir=$(dirname "$0")
weights() { # NAME OPTION...: class weights on the diagonal of a matrix, in a file
    name=$1
    shift
    with_caffe.sh make_h.py --counts 6000,3597,2156,1293,775,465,278,167,100,60 "$@" \
        -o "$dir/output/$name.binaryproto" >"$dir/output/$name.txt"
}

with_caffe.sh "$dir/create_data.py" --seeds 5
mkdir -p "$dir/output"
weights effective --weights effective_number --beta 0.9999
weights square_root --weights balanced --power 0.5
weights too_small --weights max_over_count --scale sum
weights too_big --weights max_over_count --scale none
with_caffe.sh compare.py "$dir/solver.prototxt" --class-weights --names "$dir/classes.txt" \
    --variant "ComputeH, batch=--compute-h" \
    --variant "ComputeH, running=--compute-h --running 0.99" \
    --variant "effective number=--source $dir/output/effective.binaryproto" \
    --variant "square root=--source $dir/output/square_root.binaryproto" \
    --variant "too small: max/count, sum 1=--source $dir/output/too_small.binaryproto" \
    --variant "too big: plain max/count=--source $dir/output/too_big.binaryproto" \
    --order-by-seed "$dir/train_seed%d_lmdb" --seeds 5 -o "$dir/output" "$@"

#!/bin/sh
# Trains the net of this folder with every loss and several seeds, and compares them; more options go to compare.py:
#     with_caffe.sh sh examples/fashion_mnist/compare.sh --seeds 3
set -e
dir=$(dirname "$0")

with_caffe.sh "$dir/create_data.py" --seeds 10
with_caffe.sh compare.py "$dir/solver.prototxt" --tree "$dir/tree.txt" --names "$dir/classes.txt" --tau 0.75 \
    --variant "H, SoftmaxWithInfogainLoss=--loss SoftmaxWithInfogainLoss --source $dir/infogainH.binaryproto" \
    --order-by-seed "$dir/train_seed%d_lmdb" --seeds 10 -o "$dir/output" "$@"

#!/bin/sh
# Makes the nets with triplets, their solvers and deploy.prototxt from softmax_train_val.prototxt and solver.prototxt:
#     with_caffe.sh sh examples/triplets/make_files.sh
set -e
dir=$(dirname "$0")
if [ "$dir" = . ]; then echo "make_files.sh: run it where caffe runs: the files name H from there" >&2; exit 2; fi
run() { with_caffe.sh "$@"; }

triplets() { # NET OPTION...: the layers up to the embedding, those that choose triplets, and their loss
    sed '/# The control/,$d' "$dir/softmax_train_val.prototxt" >"$1"
    net=$1
    shift
    run make_net.py --loss TripletSoftmaxLoss --embedding embedding --form log "$@" >>"$net"
}

triplets "$dir/semi_hard_train_val.prototxt" --select semi_hard
triplets "$dir/random_train_val.prototxt" --select random --seed 0
sed 's/semi_hard/random/' "$dir/solver.prototxt" >"$dir/random_solver.prototxt"
sed 's/semi_hard/softmax/; s/base_lr: 0.1/base_lr: 0.05/' "$dir/solver.prototxt" >"$dir/softmax_solver.prototxt"
for net in '' conv_; do
    run make_deploy.py "$dir/${net}softmax_train_val.prototxt" --blob embedding --shape data=1,1,28,28 \
        -o "$dir/${net}deploy.prototxt"
done

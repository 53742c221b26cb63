#!/bin/sh
# Makes the other files of this folder from softmax_train_val.prototxt, solver.prototxt and the data of create_data.py:
#     with_caffe.sh sh examples/segmentation/make_files.sh
set -e
dir=$(dirname "$0")
if [ "$dir" = . ]; then echo "make_files.sh: run it where caffe runs: the files name H from there" >&2; exit 2; fi
run() { with_caffe.sh "$@"; }

# The class weights, on the diagonal of H.
run make_h.py --net "$dir/softmax_train_val.prototxt" --weights median_frequency -o "$dir/infogainH.binaryproto"
run use_loss.py "$dir/softmax_train_val.prototxt" --source "$dir/infogainH.binaryproto" \
    -o "$dir/infogain_train_val.prototxt"
# With class weights the learning rate cannot be as high.
sed 's/softmax/infogain/; s/base_lr: 0.2/base_lr: 0.1/' "$dir/solver.prototxt" >"$dir/infogain_solver.prototxt"
run make_deploy.py "$dir/softmax_train_val.prototxt" --shape data=1,1,64,64 -o "$dir/deploy.prototxt"

#!/bin/sh
# Makes conv_deploy.prototxt from conv_train_val.prototxt:
#     with_caffe.sh sh examples/study/make_files.sh
set -e
dir=$(dirname "$0")
with_caffe.sh make_deploy.py "$dir/conv_train_val.prototxt" --shape data=1,1,28,28 -o "$dir/conv_deploy.prototxt"

"""Nets, and the data they name, for a user of caffe_losses.

`fragments` writes the layers of a loss for a train_val.prototxt, as text or with
caffe.net_spec; `net_source` finds where a net's training labels come from, and `labels`
counts them there, with `databases`, `datums` and `label_images` for what it reads.
What Caffe knows of itself comes from the user's own caffe.proto and
caffe.net_spec, so that the layers of a fork survive.
"""

"""Nets, and the data they name, for a user of caffe_losses.

`fragments` writes the layers of a loss for a train_val.prototxt, as text or with
caffe.net_spec; `labels` counts the labels in what a data layer reads; `logs` reads
what `caffe train` printed; `predictions` runs a trained net on its test data.
What Caffe knows of itself comes from the user's own caffe.proto and
caffe.net_spec, so that the layers of a fork survive.
"""

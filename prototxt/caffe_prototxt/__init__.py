"""Nets, and the data they name, for a user of caffe_losses.

`fragments` writes the layers of a loss for a train_val.prototxt, as text or with
caffe.net_spec; `net_source` finds where a net's training labels come from, and `labels`
counts them there, with `leveldbs`, `datums` and `label_images` for what it reads.
To change a net's file and nothing else in it: `text` scans it, `messages` reads its
values, `nets` knows its layers and `losses` its losses; `change` says what is to become
what, with the `additions` that needs, `edits` makes it in the text, `verify` compares
with what Caffe reads, and `diff` shows it.
What Caffe knows of itself comes from the user's own caffe.proto and
caffe.net_spec, so that the layers of a fork survive.
"""

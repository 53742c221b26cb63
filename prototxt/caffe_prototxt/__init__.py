"""Nets, and the data they name, for a user of caffe_losses.

`fragments` writes the layers of a loss for a train_val.prototxt, as text or with
caffe.net_spec, `triplets` those of triplets; `net_source` finds where a net's training labels come from, and `labels`
counts them there, with `leveldbs`, `datums` and `label_images` for what it reads.
To change a net's file and nothing else in it: `text` scans it, `messages` reads its
values, `nets` knows its layers and `losses` its losses; `change` says what is to become
what, with the `additions` that needs, `edits` makes it in the text, `verify` compares
with what Caffe reads, and `diff` shows it.
To check one: `states` says which layers Caffe keeps, `graph` what these get from each
other, `checks` what is wrong with that; `real_net` has Caffe make it (`probe_text`,
`caffe_run`, `probe`), and `check` puts all together. `solvers` reads a solver's file.
`deploy` makes the net to deploy, with `data_layers` and `records` for the shape of its data.
`logs` reads what `caffe train` printed; `predictions` runs a trained net on its test data.
What Caffe knows of itself comes from the user's own caffe.proto and
caffe.net_spec, so that the layers of a fork survive.
"""

"""Nets, and the data they name, for users of caffe_losses.

    netspec      layers for people who write nets with caffe.net_spec, and their text
    textformat   prototxt as text: scanned, read, edited in place
    net          a net: its layers, states, graph, losses and data layers
    rewrite      a net changed: another loss, or the net to deploy
    check        a net or a solver checked, by its text and in Caffe
    data         labels counted, and records read, where a net reads them
    training     Caffe in a child process, logs, predictions

What Caffe has comes from the user's own caffe.proto and caffe.net_spec, so that the layers of a fork survive.
"""

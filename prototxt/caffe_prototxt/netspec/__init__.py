"""Layers for people who write nets with caffe.net_spec. Imports `net`."""

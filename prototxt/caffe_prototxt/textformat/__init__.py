"""Protobuf text: scanned, read and edited in place. Knows nothing of Caffe, imports nothing else of caffe_prototxt."""

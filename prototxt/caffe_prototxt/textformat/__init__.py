"""Protobuf text: scanned, read and edited in place. Knows nothing of Caffe, and imports nothing else of caffe_prototxt."""

"""The caffe.Layer classes that python_param names. May import everything else of caffe_losses."""

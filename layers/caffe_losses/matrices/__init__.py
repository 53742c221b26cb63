"""Gains H and costs D: made, checked, described. Imports no caffe, and of caffe_losses only `formats` and what stands beside the folders."""

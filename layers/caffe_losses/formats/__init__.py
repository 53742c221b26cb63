"""Matrices in files, written whole or not at all. Imports no caffe, and of caffe_losses only `optional_packages`."""

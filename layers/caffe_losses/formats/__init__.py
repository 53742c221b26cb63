"""Matrices in files, written whole or not at all. Imports no caffe, and of caffe_losses `errors`, `optional_packages`."""

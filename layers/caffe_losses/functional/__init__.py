"""Losses and triplets as functions: arrays in, arrays out. Imports no caffe, and of caffe_losses only `validation`."""

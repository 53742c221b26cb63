"""Make, check and describe gains H and costs D.

Imports no caffe, and of caffe_losses only `formats` and what stands beside the folders.
"""

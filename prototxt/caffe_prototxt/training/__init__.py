"""Caffe in a child process, the logs of `caffe train`, and the predictions of a trained net.

Imports `data`, `net` and `textformat`.
"""

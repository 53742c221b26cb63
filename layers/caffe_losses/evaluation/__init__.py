"""Decisions, their metrics, and the rule of whether two methods differ by more than noise. Imports no caffe."""

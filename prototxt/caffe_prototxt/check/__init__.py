"""Nets and solvers checked, by their text and in Caffe. Imports `data`, `training`, `net` and `textformat`."""

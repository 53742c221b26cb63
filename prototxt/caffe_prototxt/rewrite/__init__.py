"""Nets changed: text in, text out. Imports `data`, `training`, `net` and `textformat`, and of `check` nothing."""

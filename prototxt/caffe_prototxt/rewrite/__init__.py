"""Nets changed: text in, text out. Imports `data`, `net` and `textformat`, and of `check` nothing."""

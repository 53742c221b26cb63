"""Variants of a net, trained with several seeds and compared."""

"""Bytes out: what HTTP says about stored files, and about what went wrong with them."""

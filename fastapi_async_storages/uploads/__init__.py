"""Bytes in: what is allowed, how it is checked while it flows, and where it ends up."""

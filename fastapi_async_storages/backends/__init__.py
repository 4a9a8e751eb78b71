"""Where the bytes are: one module for each kind of storage."""

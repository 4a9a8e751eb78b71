"""What the first bytes of an image tell: its format and dimensions, without decoding it."""

DEFAULT_MAX_PIXELS = 100_000_000

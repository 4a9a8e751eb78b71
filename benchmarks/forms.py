"""Forms with one file, as browsers send them."""

import os
from functools import cache

from benchmarks.client import Request

__all__ = ["make_upload"]

BLOCK_SIZE = 1024 * 1024

_HEAD = (
    b'--fence\r\nContent-Disposition: form-data; name="file"; filename="bench.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
)
_HEADERS = (("content-type", "multipart/form-data; boundary=fence"),)


@cache
def make_upload(path: str, size: int) -> Request:
    """Return the upload of a file with random bytes, which nothing can compress.

    Args:
        path: Where to.
        size: Of the file in bytes.
    """
    block = memoryview(os.urandom(min(size, BLOCK_SIZE)))
    content = [block[: size - start] for start in range(0, size, BLOCK_SIZE)]
    return Request("POST", path, _HEADERS, [_HEAD, *content, b"\r\n--fence--\r\n"])

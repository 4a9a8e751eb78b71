"""File names as the older library stores them; it has this function at this path."""

import re

__all__ = ["secure_filename"]


def secure_filename(filename: str) -> str:
    """Reduce a file name to ASCII letters, digits, ``_``, ``.`` and ``-``.

    White space and ``/`` become ``_``, everything else is dropped, and so are dots and underscores
    at both ends. Nothing may be left, and different names may become the same one.

    Args:
        filename: Name without folders.
    """
    words = filename.replace("/", " ").split()
    return re.sub(r"[^\w.-]", "", "_".join(words), flags=re.ASCII).strip("._")

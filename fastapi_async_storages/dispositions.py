"""The ``Content-Disposition`` header: whether a browser shows or saves a file, and its name.

Source: RFC 6266 (the header), RFC 8187 (text in header parameters that is not ASCII).
"""

import unicodedata
from typing import Literal, TypeAlias
from urllib.parse import quote

__all__ = ["Disposition", "content_disposition"]

Disposition: TypeAlias = Literal["inline", "attachment"]
"""Whether a browser shows a file or saves it (RFC 6266 section 4.2)."""

# RFC 8187 section 3.2.1, attr-char: what stands for itself, beside the letters, digits and "_.-~"
# of quote().
_ATTR_CHARS = "!#$&+^`|"

# Printable ASCII that has a meaning in a quoted-string (RFC 9110 section 5.6.4: `"` and `\`), in a
# path (`/` and `\`), or that browsers unescape in `filename` (`%`, RFC 6266 appendix D).
_UNSAFE_IN_FALLBACK = frozenset('"\\/%')

# Control, format (a right-to-left override makes `exe.jpg` of `gpj.exe`), surrogate, separators of
# lines and paragraphs.
_LEFT_OUT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def content_disposition(disposition: Disposition, filename: str | None = None) -> str:
    """Build the value of a ``Content-Disposition`` header.

    The value is one line of printable ASCII whatever the file name is: a name can neither end the
    header nor add a parameter to it.

    Args:
        disposition: ``"inline"`` or ``"attachment"``.
        filename: Name under which a browser saves the file; any text. Control characters are left
            out, since no file system wants them and a browser could show another name than it
            saves.

    Returns:
        The disposition, with ``filename`` for all clients and, where that cannot hold the name,
        ``filename*`` for those that know RFC 8187 (all browsers), which prefer it.

    Raises:
        ValueError: When the disposition is none of the two.
    """
    if disposition not in ("inline", "attachment"):
        raise ValueError(f"A disposition is 'inline' or 'attachment', not {disposition!a}.")
    name = "".join(char for char in filename or "" if unicodedata.category(char) not in _LEFT_OUT)
    if not name:
        return disposition
    fallback = "".join(_to_fallback(char) for char in name)
    header = f'{disposition}; filename="{fallback}"'
    if fallback != name:
        header += f"; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"
    return header


def _to_fallback(char: str) -> str:
    return "_" if not char.isascii() or char in _UNSAFE_IN_FALLBACK else char

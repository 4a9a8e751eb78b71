"""Sizes as people write them: ``"10MiB"`` is 10 times 1024 times 1024 bytes."""

import re
from fractions import Fraction

from fastapi_async_storages.exceptions import ConfigurationError

__all__ = ["format_size", "parse_size"]

_UNITS = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
"""Source: IEC 80000-13 (binary prefixes) and the SI (decimal ones)."""

_FACTORS = {unit.lower(): factor for unit, factor in _UNITS.items()}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?) ?([A-Za-z]+)", re.ASCII)


def parse_size(size: int | str) -> int:
    """Return a number of bytes.

    Pydantic's ``ByteSize`` is not used, since it stops reading where it stops understanding: it
    takes ``"1,5GiB"`` for one byte.

    Args:
        size: Bytes, or a number and a unit such as ``"10MiB"``, ``"1.5 GB"``; case does not count.

    Raises:
        ConfigurationError: When it is negative, or no size.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if match is None or match[2].lower() not in _FACTORS:
        raise ConfigurationError(
            f"{size!r} is no size: give bytes, or a number and one of {', '.join(_UNITS)},"
            " such as '10MiB'."
        )
    return int(Fraction(match[1]) * _FACTORS[match[2].lower()])


def format_size(size: int) -> str:
    """Return a size for a message, without rounding: ``"10 MiB"``, ``"10485761 bytes"``.

    Args:
        size: Bytes.
    """
    for unit in ("GiB", "MiB", "KiB", "GB", "MB", "kB"):
        factor = _UNITS[unit]
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"

"""The cases, each kind in a module of its own with the list ``CASES``."""

from collections.abc import Sequence

from benchmarks.case import Case
from benchmarks.cases import (
    downloads,
    large_uploads,
    local_files,
    many_names,
    operations,
    redirects,
    rows,
    sizes,
    small_uploads,
    start,
)

__all__ = ["ALL_CASES"]

ALL_CASES: Sequence[Case] = [
    case
    for module in (
        small_uploads,
        large_uploads,
        redirects,
        downloads,
        operations,
        local_files,
        rows,
        many_names,
        start,
        sizes,
    )
    for case in module.CASES
]

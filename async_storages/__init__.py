"""The older library of this name, on :mod:`fastapi_async_storages`: its classes, its import paths.

Code that was written for ``async_storages`` 0.1 runs on. Where the new package behaves otherwise on
purpose, the classes here keep the older way, and their docstrings say how. What they raise are the
errors of :mod:`fastapi_async_storages.exceptions`: they inherit the fitting builtins, as the older
ones did, but none is botocore's ``ClientError`` or one of Pillow's.

New code is better off with :mod:`fastapi_async_storages` itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from async_storages.base import BaseStorage, StorageFile, StorageImage
from fastapi_async_storages import __version__

if TYPE_CHECKING:
    from async_storages.s3 import S3Storage as S3Storage

__all__ = ["BaseStorage", "S3Storage", "StorageFile", "StorageImage", "__version__"]


def __getattr__(name: str) -> Any:
    """Import ``S3Storage``, which needs an extra, on first use (PEP 562)."""
    if name != "S3Storage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("async_storages.s3").S3Storage

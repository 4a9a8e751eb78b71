"""One storage of each backend, empty, for tests of what works on all of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from fastapi_async_storages import LocalStorage, MemoryStorage, S3Storage, Storage
from tests.servers.s3 import S3Server

__all__ = ["BACKENDS", "make_storage"]

BACKENDS = ("memory", "local", "s3")


@contextmanager
def make_storage(
    backend: str, get_s3_server: Callable[[], S3Server], **options: Any
) -> Iterator[Storage]:
    """Make a storage of a backend.

    Args:
        backend: One of :data:`BACKENDS`.
        get_s3_server: Returns the S3 server; called only when it is needed.
        **options: For the storage's class; those that S3 does not have are left out for it.
    """
    if backend == "memory":
        yield MemoryStorage(**options)
    elif backend == "local":
        with TemporaryDirectory(prefix="storage-") as root:
            yield LocalStorage(Path(root), **options)
    else:
        server = get_s3_server()
        options = {k: v for k, v in options.items() if k not in ("base_url", "secret_key")}
        yield S3Storage(
            server.bucket,
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            prefix=uuid4().hex,
            **options,
        )

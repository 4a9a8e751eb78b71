"""S3 storage with the older arguments and verbs."""

import inspect
from collections.abc import Awaitable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from io import BytesIO
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any

from async_storages.base import BaseStorage
from async_storages.utils import secure_filename
from fastapi_async_storages.backends.s3 import S3Storage as _S3Storage
from fastapi_async_storages.completion import run_in_thread
from fastapi_async_storages.exceptions import InvalidNameError, NotFoundError
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.readers import FileReader
from fastapi_async_storages.streams import UploadSource

__all__ = ["S3Storage"]


class S3Storage(_S3Storage, BaseStorage):
    """Files in a bucket, with the behaviour of the older library.

    - Arguments may be given by position, and URLs are not signed unless ``querystring_auth=True``.
    - :meth:`get_name`, :meth:`upload`, :meth:`open` and :meth:`get_size` reduce a name to ASCII
      letters, digits, ``_``, ``.`` and ``-``; all other verbs take it as it is.
    - :meth:`upload` reads a file from its start, wherever it stands.
    - ``await storage.open(name)`` returns a ``BytesIO`` with the whole file. ``async with
      storage.open(name)`` opens it for streaming, as the new package does.
    - :meth:`get_size` of a missing file is 0.

    Signatures are ``s3v4``, always.

    Args:
        bucket_name: Name of the bucket.
        endpoint_url: Where an S3-compatible server is, with or without a scheme; AWS when not
            given.
        aws_access_key_id: With ``aws_secret_access_key``; from where AWS tools take it when not
            given.
        aws_secret_access_key: See ``aws_access_key_id``. Neither is kept as an attribute.
        region_name: Region of the bucket.
        use_ssl: Scheme of ``endpoint_url`` and ``custom_domain`` where they have none.
        default_acl: Canned ACL of what is stored.
        custom_domain: Host of a CDN that serves the bucket.
        querystring_auth: Whether :meth:`get_path` returns presigned URLs.
        **options: Further arguments of :class:`fastapi_async_storages.S3Storage`.
    """

    def __init__(
        self,
        bucket_name: str,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        region_name: str | None = None,
        use_ssl: bool = True,
        default_acl: str | None = None,
        custom_domain: str | None = None,
        querystring_auth: bool = False,
        **options: Any,
    ) -> None:
        self.bucket_name = bucket_name
        self.endpoint_url = endpoint_url
        self.region_name = region_name
        self.use_ssl = use_ssl
        self.default_acl = default_acl
        self.custom_domain = custom_domain
        self.querystring_auth = querystring_auth
        super().__init__(
            bucket_name,
            endpoint_url=endpoint_url,
            aws_access_key_id=aws_access_key_id,
            aws_secret_access_key=aws_secret_access_key,
            region_name=region_name,
            use_ssl=use_ssl,
            default_acl=default_acl,
            custom_domain=custom_domain,
            querystring_auth=querystring_auth,
            **options,
        )

    def get_name(self, name: str) -> str:
        """Return the form of a name under which :meth:`upload` stores a file.

        Other than in the older library, a name of which nothing is left is refused, and never
        stored as ``"."``.

        Args:
            name: Name or path of a file; ``..`` and a leading ``/`` are left out.

        Raises:
            InvalidNameError: When nothing is left of it.
        """
        parts = [secure_filename(part) for part in PurePosixPath(name).parts]
        safe = "/".join(part for part in parts if part)
        if not safe:
            raise InvalidNameError(
                f"Invalid file name {name!a}: nothing is left of it without characters other than"
                " ASCII letters, digits, '_', '.' and '-'.",
                storage=repr(self),
                name=name,
            )
        return super().get_name(safe)

    def _check_name(self, name: str) -> str:
        return super().get_name(name)

    async def upload(
        self,
        file: UploadSource,
        name: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        cache_control: str | None = None,
        overwrite: bool = True,
    ) -> str:
        """Store a file from its start, and return the name under which it is stored."""
        await _rewind(file)
        return await super().upload(
            file,
            self.get_name(name),
            content_type=content_type,
            metadata=metadata,
            cache_control=cache_control,
            overwrite=overwrite,
        )

    # The new package returns a context manager; this is one, and can be awaited besides.
    def open(  # type: ignore[override]
        self,
        name: str,
        *,
        byte_range: ByteRange | None = None,
        preconditions: Preconditions | None = None,
        verify: bool | str = False,
    ) -> "OpeningFile":
        """Read a whole file with ``await``, or open it for streaming with ``async with``.

        Raises:
            NotFoundError: When there is no such file; a ``FileNotFoundError``.
        """
        return OpeningFile(
            super().open(
                self.get_name(name),
                byte_range=byte_range,
                preconditions=preconditions,
                verify=verify,
            )
        )

    async def get_size(self, name: str) -> int:
        """Return the size of a file in bytes, 0 when there is no such file."""
        try:
            return await super().get_size(self.get_name(name))
        except NotFoundError:
            return 0


class OpeningFile(AbstractAsyncContextManager[FileReader], Awaitable[BytesIO]):
    """A file about to be read: whole by ``await``, as a stream by ``async with``."""

    def __init__(self, opening: AbstractAsyncContextManager[FileReader]) -> None:
        self._opening = opening

    def __await__(self) -> Generator[Any, Any, BytesIO]:
        """Read the file into memory."""
        return self._read().__await__()

    async def __aenter__(self) -> FileReader:
        """Open the file."""
        return await self._opening.__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Close it."""
        return await self._opening.__aexit__(exc_type, exc, traceback)

    async def _read(self) -> BytesIO:
        async with self._opening as reader:
            return BytesIO(await reader.read())


async def _rewind(file: object) -> None:
    seek = getattr(file, "seek", None)
    if inspect.iscoroutinefunction(seek):
        await seek(0)
    elif callable(seek):
        await run_in_thread(seek, 0)

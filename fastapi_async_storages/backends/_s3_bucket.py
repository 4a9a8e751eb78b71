"""One bucket as seen by one storage: its client, and names under the storage's prefix."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastapi_async_storages.backends._s3_errors import translate_errors
from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.exceptions import (
    InvalidNameError,
    NotFoundError,
    PermissionDeniedError,
)
from fastapi_async_storages.keys import MAX_NAME_BYTES, normalize_name

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["Bucket"]


class Bucket:
    """A bucket, and the part of it that belongs to one storage.

    Attributes:
        client: The client of the running event loop.
        name: Name of the bucket.
        prefix: What stands in front of all names of the storage: empty, or ending with ``/``.
        storage: How errors name the storage.
    """

    def __init__(self, client: "S3Client", name: str, *, prefix: str, storage: str) -> None:
        self.client = client
        self.name = name
        self.prefix = prefix
        self.storage = storage
        self._is_confirmed = False

    def locate(self, name: str) -> dict[str, Any]:
        """Return a file's place as parameters of a request.

        Raises:
            InvalidNameError: When the prefix makes the name too long for S3.
        """
        return {"Bucket": self.name, "Key": to_key(self.prefix, name, storage=self.storage)}

    def to_name(self, key: str) -> str | None:
        """Return the name of a listed key, or ``None`` when no safe name leads to it.

        Other programs may have stored it: a folder's marker ``a/``, a key such as ``a//b``.
        """
        name = key.removeprefix(self.prefix)
        try:
            return name if normalize_name(name) == name else None
        except InvalidNameError:
            return None

    def translate_errors(self, name: str | None = None) -> AbstractContextManager[None]:
        """Raise what the SDK raises within the block as an error of our own tree."""
        return translate_errors(self.storage, name)

    async def check(self) -> None:
        """Find out whether the bucket is there and may be read.

        A listing, because the answer to a HEAD has no body that tells a missing bucket apart.
        """
        with self.translate_errors():
            await self.client.list_objects_v2(Bucket=self.name, Prefix=self.prefix, MaxKeys=1)
        self._is_confirmed = True

    async def head(self, name: str, **conditions: Any) -> Mapping[str, Any]:
        """Ask for what is stored beside the bytes of a file.

        Args:
            name: Which file.
            **conditions: Further parameters of the request.

        Raises:
            NotFoundError: When there is no such file.
            ConfigurationError: When there is no such bucket.
        """
        try:
            with self.translate_errors(name):
                return await self.client.head_object(**self.locate(name), **conditions)
        except NotFoundError:
            await self.confirm()
            raise

    async def confirm(self) -> None:
        """After a HEAD said "not found": find out, once, whether it is the bucket that is missing.

        Otherwise ``exists`` would answer ``False`` for every file of a misspelled bucket.
        """
        if self._is_confirmed:
            return
        try:
            await self.check()
        except PermissionDeniedError:
            self._is_confirmed = True  # To list is not allowed; the HEAD was.

    @asynccontextmanager
    async def sending(self, body: HashedBody, name: str) -> AsyncIterator[None]:
        """Make a body ready, and bound the time for which the server may stop taking it.

        Args:
            body: What is sent within the block.
            name: The file that it is of.

        Raises:
            BackendTimeoutError: When the server takes nothing for longer than the SDK would wait
                for its answer. The SDK's own timeouts do not run while a body is sent.
        """
        if self.signs_bodies:
            await body.hash()
            body.is_signed = True
        config: Any = self.client.meta.config  # The stubs know few of its attributes.
        timeouts = (config.connect_timeout, config.read_timeout, config.read_timeout)
        with self.translate_errors(name):
            async with body.timeout_on_stall(None if None in timeouts else sum(timeouts)):
                yield

    @cached_property
    def signs_bodies(self) -> bool:
        """Whether signatures cover the SHA-256 of the body.

        Over TLS, when the SDK adds a checksum to every upload, it leaves it at that.
        """
        config: Any = self.client.meta.config
        signs = (config.s3 or {}).get("payload_signing_enabled")
        if signs is not None:
            return bool(signs)
        is_secure = self.client.meta.endpoint_url.startswith("https:")
        return not is_secure or config.request_checksum_calculation == "when_required"


def to_key(prefix: str, name: str, *, storage: str) -> str:
    """Return the key of a name.

    Raises:
        InvalidNameError: When the prefix makes the name too long for S3.
    """
    key = prefix + name
    if len(key.encode()) > MAX_NAME_BYTES:
        raise InvalidNameError(
            f"{name[:100]!a} is too long for {storage}: at most {MAX_NAME_BYTES} bytes in UTF-8 are"
            f" allowed, {len(prefix.encode())} of them are the storage's prefix.",
            storage=storage,
            name=name,
        )
    return key

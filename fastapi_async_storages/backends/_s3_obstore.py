"""The engine that moves bytes through obstore, where that is faster and as safe.

It is written in Rust: what costs the event loop most, the parsing of answers, the signing of
requests and TLS, happens in other threads. What it cannot do, or not as safely, is left to the
other engine, from which this one inherits:

- Uploads in parts. obstore tells nobody the id of an upload, so one that is cancelled, or whose
  last parts fail, could not be aborted.
- Bodies of more than :data:`MAX_BODY_SIZE`.
- Copies with conditions and with their headers, which obstore does not send.
- Lists: obstore takes a folder's marker ``a/`` for a file ``a``, and fails at ``a//b``.
- Deleting many files: obstore does not say which of them stayed.
- Answers that it cannot read, such as one with a header that is not ASCII: they are asked for
  again.

Source: measured with obstore 0.12.1 (object_store 0.14.2).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from aiobotocore.session import AioSession
from obstore import delete_async, get_async, put_async
from obstore.store import S3Store

from fastapi_async_storages.backends._s3_aiobotocore import (
    READ_SIZE,
    AiobotocoreEngine,
    to_conditions,
)
from fastapi_async_storages.backends._s3_bucket import Bucket
from fastapi_async_storages.backends._s3_objects import ObjectAttributes, to_file_info, to_headers
from fastapi_async_storages.backends._s3_obstore_errors import (
    UnreadableAnswerError,
    translate_obstore_errors,
)
from fastapi_async_storages.backends._s3_obstore_store import SharedCredentials, open_store
from fastapi_async_storages.backends._s3_payloads import HashedBody
from fastapi_async_storages.backends._s3_writes import write_checked
from fastapi_async_storages.exceptions import (
    BackendTimeoutError,
    NotFoundError,
    NotModifiedError,
    RangeNotSatisfiableError,
)
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange, ContentRange
from fastapi_async_storages.readers import FileReader

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions, GetResult

__all__ = ["ObstoreEngine", "open_engine"]

T = TypeVar("T")

MAX_BODY_SIZE = 1024**2
"""Most bytes of a body that obstore sends: at 18 KB/s it has arrived within 60 seconds.

obstore's only time limit for an upload (``read_timeout``) runs from the first byte that is sent to
the first one of the answer, however well the upload moves on. The other engine's limit is for the
time in which nothing moves.
"""

CHUNK_SIZE = 128 * 1024
"""Fewest bytes of a chunk that a reader yields, but for the last one."""

_ATTRIBUTES: Mapping[str, str] = {
    "CacheControl": "Cache-Control",
    "ContentDisposition": "Content-Disposition",
    "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language",
    "ContentType": "Content-Type",
    "StorageClass": "Storage-Class",
}
"""Attributes by the name that the SDK has for them; all others of obstore's are metadata."""

_SDK_NAMES = {attribute: sdk_name for sdk_name, attribute in _ATTRIBUTES.items()}

_RESERVED = {attribute.lower() for attribute in _ATTRIBUTES.values()}
"""Metadata keys that obstore would take for these attributes."""

_OPTIONS: Mapping[str, str] = {
    "IfMatch": "if_match",
    "IfNoneMatch": "if_none_match",
    "IfModifiedSince": "if_modified_since",
    "IfUnmodifiedSince": "if_unmodified_since",
}


class ObstoreEngine(AiobotocoreEngine):
    """What a storage asks of a bucket, small uploads, reads and deletes through obstore.

    Args:
        bucket: The bucket, with its client.
        store: obstore's client for it.
        credentials: What the store signs requests with.
        max_concurrency: How many requests one call makes at a time.
    """

    def __init__(
        self,
        bucket: Bucket,
        store: S3Store,
        credentials: SharedCredentials,
        *,
        max_concurrency: int,
    ) -> None:
        super().__init__(bucket, max_concurrency=max_concurrency)
        self._store = store
        self._credentials = credentials
        config: Any = bucket.client.meta.config  # The stubs know few of its attributes.
        # obstore opens as many connections as there are requests.
        self._room = asyncio.Semaphore(config.max_pool_connections)
        timeouts = (config.connect_timeout, config.read_timeout)
        self._patience = None if None in timeouts else sum(timeouts)

    async def put(
        self, name: str, body: HashedBody, attributes: ObjectAttributes, *, overwrite: bool
    ) -> None:
        """Store a file in one request."""
        if body.size > MAX_BODY_SIZE or not attributes.metadata.keys().isdisjoint(_RESERVED):
            await super().put(name, body, attributes, overwrite=overwrite)
            return

        async def write(attributes: ObjectAttributes, conditions: Mapping[str, Any]) -> None:
            await self._send(
                name,
                put_async,
                body.getbuffer(),
                attributes=_to_attributes(attributes),
                mode="create" if conditions else "overwrite",
                use_multipart=False,
            )

        await write_checked(self._bucket, name, body, attributes, write, overwrite=overwrite)

    async def head(self, name: str) -> FileInfo:
        """Return what is known about a file."""
        try:
            result = await self._send(name, get_async, options={"head": True})
        except NotFoundError:
            await self._bucket.confirm()
            raise
        except UnreadableAnswerError:
            return await super().head(name)
        return _to_info(name, result)

    @asynccontextmanager
    async def get(
        self, name: str, byte_range: ByteRange | None, preconditions: Preconditions
    ) -> AsyncIterator[FileReader]:
        """Open a file for reading."""
        key, options = self._bucket.locate(name)["Key"], _to_options(byte_range, preconditions)
        async with self._connection(name):
            try:
                with translate_obstore_errors(self._bucket.storage, name):
                    result = await get_async(self._store, key, options=options)
            except (RangeNotSatisfiableError, NotModifiedError, UnreadableAnswerError) as error:
                refused = error
            else:
                info = _to_info(name, result)
                start, end = result.range
                chunks = self._receive(name, result)
                del result  # Its connection is closed with the last reference to it.
                async with aclosing(chunks):
                    # Of what the server did not check, because it does not know it.
                    self._enforce(preconditions, info)
                    yield FileReader(
                        info,
                        chunks,
                        content_range=ContentRange(start, end - 1, info.size)
                        if byte_range
                        else None,
                        storage=self._bucket.storage,
                    )
                return
        if isinstance(refused, UnreadableAnswerError):
            async with super().get(name, byte_range, preconditions) as reader:
                yield reader
            return
        await self._explain(name, refused, preconditions)
        raise refused

    async def delete(self, name: str) -> None:
        """Delete a file, if there is one."""
        await self._send(name, delete_async)

    async def _explain(
        self,
        name: str,
        refused: NotModifiedError | RangeNotSatisfiableError,
        preconditions: Preconditions,
    ) -> None:
        """Add to an error what obstore has not told of the answer: its headers."""
        match preconditions.if_none_match:
            case (tag,) if isinstance(refused, NotModifiedError):
                refused.etag = tag.removeprefix("W/")  # The one that matched.
                return
        info = await self.head(name)
        # SeaweedFS looks at the range first; RFC 9110 section 13.2.2 says last.
        self._enforce(preconditions, info)
        if isinstance(refused, RangeNotSatisfiableError):
            refused.size = info.size

    async def _receive(self, name: str, result: "GetResult") -> AsyncGenerator[bytes, None]:
        start, end = result.range
        if end - start <= READ_SIZE:
            with translate_obstore_errors(self._bucket.storage, name):
                # One way to the other thread and back, where a stream needs two.
                content = await result.bytes_async()
            if content:
                yield content.to_bytes()
            return
        chunks = aiter(result.stream(CHUNK_SIZE))
        while True:
            with translate_obstore_errors(self._bucket.storage, name):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield bytes(chunk)

    async def _send(
        self, name: str, function: Callable[..., Awaitable[T]], *args: Any, **options: Any
    ) -> T:
        """Have a function of obstore send one request about a file.

        Args:
            name: Which file.
            function: Gets the store, the key, and the rest.
            args: More of what it gets.
            options: The same.
        """
        key = self._bucket.locate(name)["Key"]
        async with self._connection(name):
            with translate_obstore_errors(self._bucket.storage, name):
                return await function(self._store, key, *args, **options)

    @asynccontextmanager
    async def _connection(self, name: str) -> AsyncIterator[None]:
        """Have one of the connections within the block.

        Every open reader holds one.

        Raises:
            BackendTimeoutError: When none becomes free in time.
        """
        if self._room.locked():
            await self._wait_for_room(name)
        else:
            await self._room.acquire()  # Returns at once.
        try:
            if self._credentials.are_due:
                with self._bucket.translate_errors(name):
                    await self._credentials.renew()
            yield
        finally:
            self._room.release()

    async def _wait_for_room(self, name: str) -> None:
        # Not for ever: tasks that each hold a connection may wait for each other.
        try:
            async with asyncio.timeout(self._patience):
                await self._room.acquire()
        except TimeoutError:
            raise BackendTimeoutError(
                f"{name!a} in {self._bucket.storage}: all connections are in use; raise"
                " max_pool_connections.",
                storage=self._bucket.storage,
                name=name,
            ) from None


async def open_engine(
    bucket: Bucket, session: AioSession, *, max_concurrency: int
) -> ObstoreEngine:
    """Return an engine for a bucket. Nobody has to close it.

    Args:
        bucket: The bucket, with its client.
        session: Where the credentials are from.
        max_concurrency: How many requests one call makes at a time.

    Raises:
        ConfigurationError: When only the SDK can sign requests to this kind of bucket.
    """
    credentials = SharedCredentials(session)
    store = await open_store(bucket, session, credentials)
    return ObstoreEngine(bucket, store, credentials, max_concurrency=max_concurrency)


def _to_attributes(attributes: ObjectAttributes) -> "Attributes":
    headers = to_headers(attributes)
    metadata: Mapping[str, str] = headers.pop("Metadata")
    return {**metadata, **{_ATTRIBUTES[key]: value for key, value in headers.items()}}


def _to_info(name: str, result: "GetResult") -> FileInfo:
    answer: dict[str, Any] = {"Metadata": {}}
    for key, value in result.attributes.items():
        if key in _SDK_NAMES:
            answer[_SDK_NAMES[key]] = value
        else:
            answer["Metadata"][key] = value
    meta = result.meta
    answer["ETag"], answer["LastModified"] = meta["e_tag"], meta["last_modified"]
    return to_file_info(name, answer, size=meta["size"])


def _to_options(byte_range: ByteRange | None, preconditions: Preconditions) -> "GetOptions":
    options: Any = {_OPTIONS[key]: value for key, value in to_conditions(preconditions).items()}
    match byte_range:
        case ByteRange(suffix=int(suffix)):
            options["range"] = {"suffix": suffix}
        case ByteRange(start=int(start), end=None):
            options["range"] = {"offset": start}
        case ByteRange(start=int(start), end=int(end)):
            options["range"] = (start, end + 1)
    return options  # type: ignore[no-any-return]

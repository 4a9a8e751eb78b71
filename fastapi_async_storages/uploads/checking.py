"""An upload on its way: recognized by its first bytes, counted, hashed and checked to its last."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

from fastapi_async_storages.checksums import Checksum
from fastapi_async_storages.completion import run_in_thread
from fastapi_async_storages.exceptions import (
    ChecksumMismatchError,
    ConfigurationError,
    InvalidImageError,
    UnreadableImageError,
)
from fastapi_async_storages.images import (
    FIRST_READ_BYTES,
    MAX_HEADER_BYTES,
    ImageHeader,
    read_image_header,
)
from fastapi_async_storages.keys import clean_filename
from fastapi_async_storages.media_types import SNIFF_SIZE, is_scriptable, media_type_matches
from fastapi_async_storages.streams import HashedSource
from fastapi_async_storages.uploads.incoming import IncomingFile
from fastapi_async_storages.uploads.polyglots import TAIL_SIZE, find_type_in_tail, may_be_polyglot
from fastapi_async_storages.uploads.rules import UploadRules

__all__ = ["CheckedUpload", "check_upload"]


class CheckedUpload(HashedSource):
    """The bytes of an upload that passed all checks of its first bytes. Iterate over it once.

    Storing it (``storage.upload(checked, name)``) runs the remaining checks: they raise out of the
    iteration, and an upload whose source raises is not stored.

    Attributes:
        file: What is known from the first bytes.
        size: Bytes that have come so far.
        checksum: ``"sha256:"`` and 64 hex digits once every byte has passed, else ``None``.
    """

    def __init__(
        self,
        file: IncomingFile,
        rest: AsyncIterator[bytes],
        rules: UploadRules,
        *,
        announced_checksum: str | None = None,
    ) -> None:
        self.file = file
        self.size = 0
        self._is_measured = False
        self._rest = rest
        self._rules = rules
        self._announced_checksum = announced_checksum

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the chunks.

        Raises:
            UploadRefusedError: When the upload breaks a rule after all.
            ConfigurationError: When a scanner does not pass on what it gets.
        """
        return self._hash()

    async def _hash(self) -> AsyncGenerator[bytes, None]:
        # Behind the scanners: the checksum is that of the bytes that are stored.
        passing = Checksum()
        async with aclosing(self._scan() if self._rules.scanners else self._measure()) as chunks:
            async for chunk in chunks:
                await passing.update(chunk)
                yield chunk
        checksum = str(passing)
        if self._announced_checksum not in (None, checksum):
            raise ChecksumMismatchError(
                f"{self.file.label} has other bytes than were announced, by its SHA-256.",
                limit=self._announced_checksum,
                received=checksum,
            )
        self.checksum = checksum

    async def _scan(self) -> AsyncGenerator[bytes, None]:
        passed = 0
        async with AsyncExitStack() as stages:
            # Each stage may hold something (a scanner its socket), so each is closed here, not
            # by the garbage collector.
            stream = await stages.enter_async_context(aclosing(self._measure()))
            for scan in self._rules.scanners:
                stream = await stages.enter_async_context(aclosing(scan(self.file, stream)))
            async for chunk in stream:
                passed += len(chunk)
                yield chunk
        if passed != self.size or not self._is_measured:
            raise ConfigurationError(
                f"A scanner passed on {passed} bytes of {self.file.label} and got {self.size} or"
                " more; it must yield every chunk."
            )

    async def _measure(self) -> AsyncGenerator[bytes, None]:
        rules, filename = self._rules, self.file.filename
        tail = b""
        wants_tail = rules.restricts_type and may_be_polyglot(self.file.media_type)
        async for chunk in self._chunks():
            self.size += len(chunk)
            rules.check_growing_size(self.size, filename=filename)
            if wants_tail:
                tail = (tail + chunk[-TAIL_SIZE:])[-TAIL_SIZE:]
            yield chunk
        rules.check_size(self.size, filename=filename)
        rules.check_other_type(self.file, find_type_in_tail(tail))
        self._is_measured = True

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        if self.file.head:
            yield self.file.head
        async for chunk in self._rest:
            yield chunk


async def check_upload(
    chunks: AsyncIterator[bytes],
    rules: UploadRules,
    *,
    filename: str | None = None,
    declared_type: str | None = None,
    size: int | None = None,
    checksum: str | None = None,
) -> CheckedUpload:
    """Read the first bytes of an upload and check all that they tell.

    Args:
        chunks: The bytes of the upload. Who opened the stream closes it.
        rules: What is allowed.
        filename: The client's file name, as it came.
        declared_type: The ``Content-Type`` of the file, as it came.
        size: Bytes that the client announced, if it did.
        checksum: ``"sha256:"`` and 64 hex digits that the client announced, if it did.

    Returns:
        The upload, to be stored; of its bytes only the first were read.

    Raises:
        UploadRefusedError: When it breaks a rule.
    """
    rules.check_claims(filename=filename, size=size)
    reader = _HeadReader(chunks, rules, clean_filename(filename))
    await reader.fill(SNIFF_SIZE)
    file = IncomingFile.recognize(
        reader.head, filename=filename, declared_type=declared_type, size=size
    )
    image = await _read_image(reader, file, is_required=rules.image is not None)
    if image is not None or reader.head is not file.head:
        file = replace(file, head=reader.head, image=image)
    await rules.check(file)
    return CheckedUpload(file, chunks, rules, announced_checksum=checksum)


class _HeadReader:
    """Reads as many of the first bytes as are wanted, and keeps them: a small file as it came."""

    def __init__(
        self, chunks: AsyncIterator[bytes], rules: UploadRules, filename: str | None
    ) -> None:
        self.is_whole = False
        self._read: list[bytes] = []
        self._size = 0
        self._chunks = chunks
        self._rules = rules
        self._filename = filename

    @property
    def head(self) -> bytes:
        """What was read so far; the chunk itself while there is only one."""
        if len(self._read) != 1:
            self._read = [b"".join(self._read)]
        return self._read[0]

    async def fill(self, size: int) -> None:
        while self._size < size and not self.is_whole:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                self.is_whole = True
            else:
                self._read.append(chunk)
                self._size += len(chunk)
            self._rules.check_growing_size(self._size, filename=self._filename)


async def _read_image(
    reader: _HeadReader, file: IncomingFile, *, is_required: bool
) -> ImageHeader | None:
    """Return the header of an image, reading on as far as it needs."""
    if not media_type_matches(file.media_type, ["image/*"]) or is_scriptable(file.media_type):
        return None
    # Where nobody asked for dimensions, they are worth no more than one read.
    limit = MAX_HEADER_BYTES if is_required else FIRST_READ_BYTES
    try:
        while True:
            head = reader.head
            header = await run_in_thread(read_image_header, head, is_whole=reader.is_whole)
            if header is not None or len(head) >= limit:
                return header
            await reader.fill(min(max(2 * len(head), FIRST_READ_BYTES), limit))
    except InvalidImageError as error:
        if is_required:
            raise UnreadableImageError(f"{file.label} is refused: {error}.") from error
    return None

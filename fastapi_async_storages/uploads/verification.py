"""Stored uploads that were not checked while they flowed: the same rules, read from the storage."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from fastapi_async_storages.exceptions import (
    ChecksumMismatchError,
    FileTooLargeError,
    FileTooSmallError,
)
from fastapi_async_storages.images import FIRST_READ_BYTES
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.checking import check_upload
from fastapi_async_storages.uploads.incoming import IncomingFile, name_upload
from fastapi_async_storages.uploads.polyglots import TAIL_SIZE, find_type_in_tail, may_be_polyglot
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.tickets import Ticket

__all__ = ["VerifiedFile", "verify_upload"]


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """What a stored upload was found to be.

    Attributes:
        file: What its first bytes tell.
        checksum: ``"sha256:"`` and 64 hex digits, when somebody has computed it.
    """

    file: IncomingFile
    checksum: str | None


async def verify_upload(
    storage: Storage, info: FileInfo, ticket: Ticket, rules: UploadRules
) -> VerifiedFile:
    """Check a stored upload by what was agreed on and by the rules.

    The first bytes are read, and the last ones of what could be of two types. Only scanners, and a
    checksum that the storage has not computed itself, need the bytes between.

    Args:
        storage: Where it is.
        info: What the storage says of it. All reads are of this version.
        ticket: What was agreed on.
        rules: What is allowed.

    Raises:
        UploadRefusedError: When it is not what was agreed on, or breaks a rule.
        PreconditionFailedError: When it is replaced while it is read.
        NotFoundError: When it is deleted meanwhile.
    """
    _check_claims(info, ticket)
    async with aclosing(_read(storage, info)) as chunks:
        checked = await check_upload(
            chunks,
            rules,
            filename=ticket.filename,
            declared_type=ticket.content_type,
            size=info.size,
            checksum=ticket.checksum,
        )
        if rules.scanners or (ticket.checksum is not None and info.checksum is None):
            async for _ in checked:
                pass
            return VerifiedFile(checked.file, checked.checksum)
    if rules.restricts_type and may_be_polyglot(checked.file.media_type):
        tail = await _read_range(storage, info, ByteRange(suffix=TAIL_SIZE))
        rules.check_other_type(checked.file, find_type_in_tail(tail))
    return VerifiedFile(checked.file, info.checksum)


def _check_claims(info: FileInfo, ticket: Ticket) -> None:
    label = name_upload(ticket.filename)
    if info.size != ticket.size:
        kind = FileTooLargeError if info.size > ticket.size else FileTooSmallError
        raise kind(
            f"{label} has {info.size} bytes, and {ticket.size} were announced.",
            limit=ticket.size,
            received=info.size,
        )
    if info.checksum is not None and ticket.checksum not in (None, info.checksum):
        raise ChecksumMismatchError(
            f"{label} has other bytes than were announced, by its SHA-256.",
            limit=ticket.checksum,
            received=info.checksum,
        )


async def _read(storage: Storage, info: FileInfo) -> AsyncGenerator[bytes, None]:
    """Read a file so that who stops after the first bytes has asked for no more of it."""
    if info.size:
        yield await _read_range(storage, info, ByteRange(0, FIRST_READ_BYTES - 1))
    if info.size > FIRST_READ_BYTES:
        async with storage.open(
            info.name, byte_range=ByteRange(FIRST_READ_BYTES), preconditions=_only(info)
        ) as reader:
            async for chunk in reader:
                yield chunk


async def _read_range(storage: Storage, info: FileInfo, byte_range: ByteRange) -> bytes:
    async with storage.open(info.name, byte_range=byte_range, preconditions=_only(info)) as reader:
        return await reader.read()


def _only(info: FileInfo) -> Preconditions:
    return Preconditions() if info.etag is None else Preconditions(if_match=(info.etag,))

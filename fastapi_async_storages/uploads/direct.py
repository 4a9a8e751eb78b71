"""Direct uploads: the bytes go to the storage itself, and count once they are verified.

An upload is announced, sent to a name under ``pending/``, and completed: only then it is checked,
and moved to its own name. Where the storage has no server of its own that browsers could send to,
the app takes the bytes in between, by the same rules as S3 would: this name, this size, this type.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi_async_storages.completion import complete
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    ConfigurationError,
    NotFoundError,
    PreconditionFailedError,
    UploadRefusedError,
)
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.keys import clean_filename, normalize_prefix, unique_name
from fastapi_async_storages.media_types import (
    DEFAULT_MEDIA_TYPE,
    guess_media_type,
    normalize_media_type,
)
from fastapi_async_storages.presigned import MAX_FORM_SIZE
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.channels import Channel, PlannedUpload, open_channel, receive
from fastapi_async_storages.uploads.pending_names import PENDING_PREFIX, pending_name
from fastapi_async_storages.uploads.rules import UploadRules
from fastapi_async_storages.uploads.save import describe_file, discard
from fastapi_async_storages.uploads.sizes import parse_size
from fastapi_async_storages.uploads.tickets import Ticket
from fastapi_async_storages.uploads.verification import VerifiedFile, verify_upload

__all__ = ["AnnouncedUpload", "DirectUploads"]

MAX_EXPIRES_IN = 7 * 24 * 3600
"""Most seconds between the announcement of an upload and its end.

Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters": X-Amz-Expires.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedUpload:
    """What a client says of a file that it wants to upload.

    Attributes:
        filename: Its name there, as it came.
        size: Its bytes.
        content_type: Its media type, as it came; nothing when the client does not know.
        checksum: ``"sha256:"`` and 64 hex digits, if the client has computed it.
    """

    filename: str | None
    size: int
    content_type: str | None = None
    checksum: str | None = None


class DirectUploads:
    """The direct uploads of one router.

    Args:
        rules: What is allowed.
        prefix: Folder-like prefix of the names that verified files get.
        cache_control: ``Cache-Control`` for the readers of the files.
        expires_in: Seconds between the announcement of an upload and its end, at most.
        multipart_threshold: Bytes from which a file is sent in parts where the storage can, as a
            number or such as ``"100MiB"``.

    Raises:
        ConfigurationError: When an argument cannot work.
        InvalidNameError: When ``prefix`` cannot be part of a name.
    """

    def __init__(
        self,
        rules: UploadRules,
        *,
        prefix: str = "",
        cache_control: str | None = None,
        expires_in: int = 3600,
        multipart_threshold: int | str = "100MiB",
    ) -> None:
        self._rules = rules
        self._prefix = normalize_prefix(prefix)
        self._cache_control = cache_control
        self._expires_in = expires_in
        self._multipart_threshold = parse_size(multipart_threshold)
        if self._prefix.casefold().startswith(PENDING_PREFIX):
            raise ConfigurationError(
                f"prefix={prefix!r}: {PENDING_PREFIX!r} is for uploads that are not verified yet."
            )
        if not 1 <= expires_in <= MAX_EXPIRES_IN:
            raise ConfigurationError(
                f"expires_in must be 1 to {MAX_EXPIRES_IN} seconds (7 days), not {expires_in}."
            )
        if self._multipart_threshold > MAX_FORM_SIZE:
            raise ConfigurationError(
                f"multipart_threshold={multipart_threshold!r} is more than the"
                f" {MAX_FORM_SIZE} bytes (5 GiB) that S3 takes in one request."
            )

    async def plan(self, storage: Storage, announced: AnnouncedUpload) -> PlannedUpload:
        """Refuse what is known to break a rule, and say how all else is to be sent.

        Args:
            storage: Where to.
            announced: What the client wants to upload.

        Raises:
            UploadRefusedError: When it cannot keep the rules.
            StorageError: When the storage fails.
        """
        self._check_announced(announced)
        ticket = Ticket(
            unique=unique_name(),
            size=announced.size,
            content_type=normalize_media_type(announced.content_type) or DEFAULT_MEDIA_TYPE,
            filename=clean_filename(announced.filename),
            checksum=announced.checksum,
            expires_at=int(time.time()) + self._expires_in,
        )
        channel = await open_channel(storage)
        return await channel.plan(
            ticket, multipart_threshold=self._multipart_threshold, expires_in=self._expires_in
        )

    async def receive(
        self,
        storage: Storage,
        ticket: Ticket,
        chunks: AsyncIterator[bytes],
        *,
        content_type: str | None,
        size: int | None,
    ) -> None:
        """Store the bytes of an upload that the app takes.

        Args:
            storage: Where to.
            ticket: What was agreed on.
            chunks: The bytes.
            content_type: Their type, as the client sends it now.
            size: Their number, if the client tells it now.

        Raises:
            UploadRefusedError: When they are not what was agreed on.
            StorageError: When the storage fails.
        """
        await receive(
            storage,
            ticket,
            chunks,
            content_type=content_type,
            size=size,
            cache_control=self._cache_control,
        )

    @asynccontextmanager
    async def completing(self, storage: Storage, ticket: Ticket) -> AsyncIterator[StorageFile]:
        """Verify an upload and move it to its own name; what is refused is deleted.

        Of several calls one succeeds, as long as its file is there, whatever was sent since. It is
        deleted again when the block raises, unless somebody has promised to keep it by then.

        Args:
            storage: Where it is.
            ticket: What was agreed on.

        Yields:
            A handle on the file.

        Raises:
            UploadRefusedError: When the file is not what was agreed on, or breaks a rule.
            PreconditionFailedError: When it is replaced while it is verified.
            NotFoundError: When nothing has come, or it was completed or refused before.
            StorageError: When the storage fails. Completing it later may work then; not if the file
                was moved and only the answer was lost: it stays, for it cannot be told from that of
                another call that has succeeded meanwhile.
        """
        channel = await open_channel(storage)
        try:
            info = await channel.find(ticket)
            await self._check_unused(storage, ticket)
            verified = await verify_upload(storage, info, ticket, self._rules)
            file = await self._publish(storage, channel, ticket, info, verified)
        except (UploadRefusedError, PreconditionFailedError):
            await complete(channel.abort(ticket))
            raise
        except AlreadyExistsError:
            await complete(channel.abort(ticket))
            raise _nothing_to_complete(storage, ticket) from None
        except NotFoundError:
            raise _nothing_to_complete(storage, ticket) from None
        try:
            yield file
        except BaseException:
            if file._fresh:
                await complete(discard(storage, file.name))
            raise

    async def abort(self, storage: Storage, ticket: Ticket) -> None:
        """Delete what has come of an upload, if anything. A file that is complete stays.

        Args:
            storage: Where it is.
            ticket: What was agreed on.
        """
        await complete((await open_channel(storage)).abort(ticket))

    def _check_announced(self, announced: AnnouncedUpload) -> None:
        self._rules.check_claims(filename=announced.filename, size=announced.size)
        if self._rules.mismatch == "refuse":
            # The bytes will have to agree with both claims. Otherwise they alone decide.
            for claim in (announced.content_type, guess_media_type(announced.filename or "")):
                claimed = normalize_media_type(claim)
                if claimed not in (None, DEFAULT_MEDIA_TYPE):
                    self._rules.check_type(claimed, filename=clean_filename(announced.filename))

    async def _check_unused(self, storage: Storage, ticket: Ticket) -> None:
        """Raise AlreadyExistsError when there is a file of this ticket already, of any type.

        Whoever has the URL for the bytes may send others of the same size, whose extension leads
        to another name. This is asked after the ETag of what is pending was read, and before it is
        published: bytes that are sent before the first file is published keep that from happening,
        since its ETag does not match any more. So of bytes that came later, this sees that file.
        """
        start = storage.get_name(f"{self._prefix}{ticket.unique}")
        if files := [file async for file in storage._list(start)]:
            raise AlreadyExistsError(
                f"{files[0].name!a} in {storage!r} was made of the same ticket.",
                storage=repr(storage),
                name=files[0].name,
            )

    async def _publish(
        self,
        storage: Storage,
        channel: Channel,
        ticket: Ticket,
        info: FileInfo,
        verified: VerifiedFile,
    ) -> StorageFile:
        metadata = describe_file(verified.file)
        if verified.checksum is not None:
            metadata["checksum"] = verified.checksum
        target = FileInfo.from_stored(
            storage.get_name(f"{self._prefix}{ticket.unique}{verified.file.extension}"),
            info.size,
            content_type=verified.file.media_type,
            metadata=metadata,
            cache_control=self._cache_control,
        )
        is_published = False

        async def publish() -> None:
            nonlocal is_published
            await channel.publish(info, target, metadata)
            is_published = True
            await discard(storage, info.name)

        try:
            # To its end: of a copy that is cancelled on its way, nobody knows whether it was made.
            await complete(publish())
        except BaseException:
            if is_published:
                await complete(discard(storage, target.name))
            raise
        file = StorageFile(storage, target.name, target)
        file._fresh = True
        return file


def _nothing_to_complete(storage: Storage, ticket: Ticket) -> NotFoundError:
    return NotFoundError(
        "There is no upload to complete: nothing has come, or it was completed or refused before.",
        storage=repr(storage),
        name=pending_name(ticket.unique),
    )

"""Promises of ``open``, ``get_info``, ``get_size`` and ``exists``."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial

from fastapi_async_storages.exceptions import (
    NotFoundError,
    NotModifiedError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    StorageError,
)
from fastapi_async_storages.preconditions import ANY_ETAG, Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract._promises import (
    expect,
    expect_equal,
    expect_error,
    promise,
    read,
)
from fastapi_async_storages.testing.contract.uploading import LARGE

RANGES = (
    ByteRange(0),
    ByteRange(0, 0),
    ByteRange(3, 5),
    ByteRange(9),
    ByteRange(9, 9),
    ByteRange(5, 10**12),
    ByteRange(suffix=1),
    ByteRange(suffix=10),
    ByteRange(suffix=10**12),
)
UNSATISFIABLE_RANGES = (ByteRange(10), ByteRange(10, 11), ByteRange(10**12), ByteRange(suffix=0))


@promise
async def open_brings_the_record_and_the_bytes(storage: Storage, folder: str) -> None:
    """A reader has the same record as get_info, and all bytes, in chunks or at once."""
    for content in (b"", b"x", LARGE):
        name = f"{folder}/{len(content)}"
        await storage.upload(content, name, metadata={"key": "value"})
        async with storage.open(name) as reader:
            expect_equal(reader.info, await storage.get_info(name), "The record")
            expect_equal(reader.content_range, None, "The range")
            chunks = [chunk async for chunk in reader]
        expect_equal(b"".join(chunks), content, "The content")
        expect(all(chunks), "no empty chunk")
        async with storage.open(name) as reader:
            first = b""
            async for chunk in reader:
                first = chunk
                break
            expect_equal(first + await reader.read(), content, "The first chunk, and the rest")
            expect_equal(await reader.read(), b"", "What is left then")


@promise
async def missing_files_raise_on_entry(storage: Storage, folder: str) -> None:
    """What is not there raises NotFoundError, from every verb that needs it."""
    await storage.upload(b"", f"{folder}/there/file")
    for missing in (f"{folder}/missing", f"{folder}/there", f"{folder}/there/file/x"):
        actions: dict[str, Callable[[], Awaitable[object]]] = {
            "open": partial(read, storage, missing),
            "get_info": partial(storage.get_info, missing),
            "get_size": partial(storage.get_size, missing),
            "copy": partial(storage.copy, missing, f"{folder}/target"),
            "move": partial(storage.move, missing, f"{folder}/target"),
            "move onto itself": partial(storage.move, missing, missing),
        }
        for verb, action in actions.items():
            with expect_error(FileNotFoundError, f"{verb} of a missing file"):
                try:
                    await action()
                except NotFoundError as error:
                    expect_equal((error.name, error.storage), (missing, repr(storage)), "The error")
                    raise
        expect_equal(await storage.exists(missing), False, "exists")
    expect_equal(await storage.exists(f"{folder}/there/file"), True, "exists")
    expect_equal(await storage.exists(f"{folder}/target"), False, "exists")


@promise
async def ranges_are_exact(storage: Storage, folder: str) -> None:
    """A range brings exactly its bytes, and says which."""
    content = b"0123456789"
    await storage.upload(content, f"{folder}/a", metadata={"key": "value"})
    info = await storage.get_info(f"{folder}/a")
    for byte_range in RANGES:
        wanted = byte_range.resolve(len(content))
        async with storage.open(f"{folder}/a", byte_range=byte_range) as reader:
            expect_equal(reader.content_range, wanted, f"The range of {byte_range}")
            expect_equal(reader.info, info, f"The record with {byte_range}")
            part = content[wanted.start : wanted.end + 1]
            expect_equal(await reader.read(), part, f"The bytes of {byte_range}")
    for size, byte_range in (
        *((10, byte_range) for byte_range in UNSATISFIABLE_RANGES),
        *((0, byte_range) for byte_range in (ByteRange(0), ByteRange(0, 0), ByteRange(suffix=1))),
    ):
        await storage.upload(content[:size], f"{folder}/a")
        with expect_error(RangeNotSatisfiableError, f"{byte_range} of {size} bytes"):
            try:
                async with storage.open(f"{folder}/a", byte_range=byte_range):
                    pass
            except RangeNotSatisfiableError as error:
                expect_equal((error.size, error.name), (size, f"{folder}/a"), "The error")
                raise


@promise
async def ranges_reach_far_into_large_files(storage: Storage, folder: str) -> None:
    """A range over many chunks starts and ends at its bytes."""
    await storage.upload(LARGE, f"{folder}/a")
    for start, end in ((1, len(LARGE) - 2), (2**20 - 1, 2**20), (5 * 2**20 - 1, 5 * 2**20 + 9)):
        async with storage.open(f"{folder}/a", byte_range=ByteRange(start, end)) as reader:
            expect_equal(await reader.read(), LARGE[start : end + 1], f"Bytes {start} to {end}")


def make_preconditions(
    etag: str, modified: datetime
) -> list[tuple[type[StorageError] | None, Preconditions]]:
    """Return preconditions for a version, each with the error that it must give, if any."""
    other = '"another"'
    past, future = modified - timedelta(hours=1), modified + timedelta(hours=1)
    return [
        (None, Preconditions()),
        (None, Preconditions(if_match=(etag,))),
        (None, Preconditions(if_match=(other, etag))),
        (None, Preconditions(if_match=(ANY_ETAG,))),
        (None, Preconditions(if_none_match=(other,))),
        (None, Preconditions(if_modified_since=past)),
        (None, Preconditions(if_unmodified_since=future)),
        (None, Preconditions(if_match=(etag,), if_unmodified_since=past)),
        (None, Preconditions(if_none_match=(other,), if_modified_since=future)),
        (PreconditionFailedError, Preconditions(if_match=(other,))),
        (PreconditionFailedError, Preconditions(if_match=(f"W/{etag}",))),
        (PreconditionFailedError, Preconditions(if_unmodified_since=past)),
        (PreconditionFailedError, Preconditions(if_match=(other,), if_none_match=(etag,))),
        (NotModifiedError, Preconditions(if_none_match=(etag,))),
        (NotModifiedError, Preconditions(if_none_match=(other, f"W/{etag}"))),
        (NotModifiedError, Preconditions(if_none_match=(ANY_ETAG,))),
        (NotModifiedError, Preconditions(if_match=(etag,), if_none_match=(etag,))),
        (NotModifiedError, Preconditions(if_modified_since=modified)),
    ]


@promise
async def preconditions_are_kept(storage: Storage, folder: str) -> None:
    """Preconditions are checked on entry, before the range (RFC 9110 section 13.2.2)."""
    name = f"{folder}/a"
    await storage.upload(b"0123456789", name)
    info = await storage.get_info(name)
    if info.etag is None or info.last_modified is None:
        raise AssertionError("Expected: a record with an entity tag and a time")
    for kind, preconditions in make_preconditions(info.etag, info.last_modified):
        for byte_range in (None, ByteRange(2), ByteRange(99)):
            wanted = RangeNotSatisfiableError if byte_range == ByteRange(99) else None
            error = kind or wanted
            with (
                nullcontext()
                if error is None
                else expect_error(error, f"{preconditions}, range {byte_range}")
            ):
                async with storage.open(
                    name, byte_range=byte_range, preconditions=preconditions
                ) as reader:
                    content = b"23456789" if byte_range else b"0123456789"
                    expect_equal(await reader.read(), content, f"The bytes, {preconditions}")
    with expect_error(NotFoundError, "a missing file has no version to compare"):
        async with storage.open(
            f"{folder}/missing", preconditions=Preconditions(if_none_match=(info.etag,))
        ):
            pass


@promise
async def leaving_a_reader_early_does_no_harm(storage: Storage, folder: str) -> None:
    """A reader that is left before its end, by break or by an error, keeps nothing busy."""
    await storage.upload(LARGE, f"{folder}/a")
    for _ in range(30):
        async with storage.open(f"{folder}/a") as reader:
            async for _chunk in reader:
                break
        async with storage.open(f"{folder}/a"):
            pass
        with expect_error(ZeroDivisionError, "an error in the block comes through"):
            async with storage.open(f"{folder}/a") as reader:
                raise ZeroDivisionError
    expect_equal(await read(storage, f"{folder}/a"), LARGE, "The content")


@promise
async def many_read_at_once(storage: Storage, folder: str) -> None:
    """Readers do not wait for each other for ever, nor mix up their bytes."""
    contents = {f"{folder}/{number}": bytes([number]) * 300_000 for number in range(20)}
    for name, content in contents.items():
        await storage.upload(content, name)
    read_contents = await asyncio.gather(*(read(storage, name) for name in contents))
    expect(read_contents == list(contents.values()), "each reader gets its own file")


@promise
async def exists_hides_no_error(storage: Storage, folder: str) -> None:
    """``exists`` is False only for what is not there; everything else raises."""
    expect_equal(await storage.exists(f"{folder}/missing"), False, "exists")
    await storage.aclose()
    with expect_error(StorageError, "a closed storage does not know"):
        await storage.exists(f"{folder}/missing")

"""Promises of what is kept beside the bytes."""

from datetime import UTC, datetime, timedelta

from fastapi_async_storages.exceptions import InvalidMetadataError
from fastapi_async_storages.storage import DEFAULT_CONTENT_TYPE, Storage
from fastapi_async_storages.testing.contract._promises import (
    expect,
    expect_equal,
    expect_error,
    promise,
)

VALUES = {
    "plain": "value",
    "space": "two words",
    "umlaut": "Größe, naïve, Łódź",
    "scripts": "日本語 العربية עברית ไทย",
    "emoji": "👩\u200d👩\u200d👧 🏳️\u200d🌈",
    "spaces": " a\u202fb\u3000c\xa0",
    "percent": "100%25 %2F %",
    "quoted": "\"double\" 'single' \\ ; , = ( ) < >",
    "encoded-word": "=?utf-8?q?word?=",
    "base64": "SGVsbG8=",
    "plus": "a+b",
    "x": "1",
}
MAX_CLOCK_DIFFERENCE = timedelta(hours=1)


@promise
async def metadata_comes_back_as_it_was(storage: Storage, folder: str) -> None:
    """Metadata of any printable Unicode comes back unchanged, from open and from get_info."""
    name = f"{folder}/a"
    await storage.upload(b"", name, metadata=VALUES)
    expect_equal(dict((await storage.get_info(name)).metadata), VALUES, "The metadata")
    async with storage.open(name) as reader:
        expect_equal(dict(reader.info.metadata), VALUES, "The metadata of the reader")
    for char in " %\"'=?_\xa0é✓😀":
        await storage.upload(b"", name, metadata={"key": f"{char}middle{char}{char}"})
        value = (await storage.get_info(name)).metadata["key"]
        expect_equal(value, f"{char}middle{char}{char}", "The value")


@promise
async def records_are_the_callers_own(storage: Storage, folder: str) -> None:
    """What a caller does to a record, or to the metadata that it passed, changes nothing stored."""
    name = f"{folder}/a"
    metadata = {"key": "value"}
    await storage.upload(b"", name, metadata=metadata)
    metadata["key"] = "changed"
    for _ in range(2):
        info = await storage.get_info(name)
        expect_equal(dict(info.metadata), {"key": "value"}, "The metadata")
        if isinstance(info.metadata, dict):
            info.metadata.clear()


@promise
async def metadata_has_a_limit(storage: Storage, folder: str) -> None:
    """2 KB of metadata are kept, more are refused before anything is stored."""
    largest = {"filename": "a" * (2048 - len("filename"))}
    await storage.upload(b"", f"{folder}/a", metadata=largest)
    expect_equal((await storage.get_info(f"{folder}/a")).filename, largest["filename"], "It")
    for metadata in (
        {"filename": largest["filename"] + "a"},
        {"Key": "value"},
        {"key": ""},
        {"key": "line\nbreak"},
    ):
        with expect_error(InvalidMetadataError, f"metadata {str(metadata)[:50]}"):
            await storage.upload(b"", f"{folder}/b", metadata=metadata)
    for value in ("", "a\r\nb", "é"):
        with expect_error(InvalidMetadataError, f"content type {value!a}"):
            await storage.upload(b"", f"{folder}/b", content_type=value or "\n")
        with expect_error(InvalidMetadataError, f"cache control {value!a}"):
            await storage.upload(b"", f"{folder}/b", cache_control=value or "\n")
    expect(not await storage.exists(f"{folder}/b"), "nothing is stored")


@promise
async def record_has_what_upload_was_told(storage: Storage, folder: str) -> None:
    """The record has the file's name, checksum, dimensions, type and cache control."""
    name = f"{folder}/a.png"
    await storage.upload(
        b"12345",
        name,
        content_type="image/x-own; charset=utf-8",
        cache_control="private, max-age=60",
        metadata={
            "filename": "Größe 100%.png",
            "checksum": "sha256:" + "0" * 64,
            "width": "32",
            "height": "16",
            "own": "value",
        },
    )
    info = await storage.get_info(name)
    expect_equal(
        (info.name, info.size, info.content_type, info.cache_control),
        (name, 5, "image/x-own; charset=utf-8", "private, max-age=60"),
        "The record",
    )
    expect_equal(
        (info.filename, info.checksum, info.width, info.height, dict(info.metadata)),
        ("Größe 100%.png", "sha256:" + "0" * 64, 32, 16, {"own": "value"}),
        "The record",
    )


@promise
async def content_type_is_guessed(storage: Storage, folder: str) -> None:
    """Without a content type the name's extension decides; unknown ones are octet-stream."""
    for leaf, wanted in (("a.png", "image/png"), ("a.txt", "text/plain")):
        await storage.upload(b"<html>", f"{folder}/{leaf}")
        info = await storage.get_info(f"{folder}/{leaf}")
        expect_equal((info.content_type or "").split(";")[0], wanted, f"The type of {leaf}")
    for leaf in ("a", "a.unknown-extension"):
        await storage.upload(b"<html>", f"{folder}/{leaf}")
        info = await storage.get_info(f"{folder}/{leaf}")
        expect_equal(info.content_type, DEFAULT_CONTENT_TYPE, f"The type of {leaf}")


@promise
async def record_has_a_strong_tag_and_a_time(storage: Storage, folder: str) -> None:
    """The entity tag is strong, the time is aware UTC, and both belong to the version."""
    name = f"{folder}/a"
    tags = set()
    for content in (b"1", b"2", b"3"):
        await storage.upload(content, name)
        info = await storage.get_info(name)
        tag = info.etag or ""
        expect(
            len(tag) > 2 and tag[0] == tag[-1] == '"' and '"' not in tag[1:-1],
            f"a strong entity tag with its quotes, not {tag}",
        )
        tags.add(tag)
        modified = info.last_modified
        if modified is None or modified.utcoffset() != timedelta(0):
            raise AssertionError(f"Expected: an aware UTC time, not {modified}")
        expect(
            abs(datetime.now(UTC) - modified) < MAX_CLOCK_DIFFERENCE,
            f"a time near now, not {modified}",
        )
        expect_equal(await storage.get_info(name), info, "The record, asked again")
    expect_equal(len(tags), 3, "The number of entity tags of three versions")

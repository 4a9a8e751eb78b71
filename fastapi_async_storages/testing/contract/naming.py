"""Promises of names."""

import unicodedata
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi_async_storages.exceptions import AlreadyExistsError, InvalidNameError
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.testing.contract._promises import (
    expect,
    expect_equal,
    expect_error,
    promise,
    read,
)

ODD_NAMES = (
    "a b",
    " leading and trailing ",
    "a+b",
    "a%2Fb",
    "a%20b",
    "100%",
    "a?b=c&d",
    "a#b",
    "a;b=c,d",
    "a:b@c",
    "'single' \"double\" `back`",
    "<tag>&amp;",
    "[a]{b}|c^d~e",
    "*",
    "$HOME",
    "!important",
    ".hidden",
    "trailing.",
    "...",
    "-rf",
    "=1+1",
    "CON",
    "a.tar.gz",
    "é",
    "Größe.pdf",
    "日本語.txt",
    "العربية",
    "😀",
    "a\u00a0b",
    "a\u200db",
    "\u202egpj.exe",
    "İıſß",
    "deep/" * 20 + "x",
    "x" * 200,
)
"""Names that have meant something else to some server, shell, URL or file system."""

INVALID_NAMES: tuple[Any, ...] = (
    "",
    ".",
    "/",
    "//",
    "/absolute",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "a\\b",
    "..\\a",
    "nul\0",
    "line\nbreak",
    "tab\t",
    "\x7f",
    "c1\x85",
    "\ud800",
    "\uffff",
    "x" * 1025,
    "é" * 513,
    None,
    1,
    b"bytes",
)


@promise
async def odd_names_are_names(storage: Storage, folder: str) -> None:
    """Every valid name stores, reads, lists, copies, moves and deletes its own file."""
    names = [f"{folder}/{name}" for name in ODD_NAMES]
    for number, name in enumerate(names):
        expect_equal(await storage.upload(b"%d" % number, name), name, "The stored name")
    for number, name in enumerate(names):
        expect_equal(await read(storage, name), b"%d" % number, f"The content of {name!a}")
        expect_equal((await storage.get_info(name)).name, name, "The name in the record")
    expect_equal({info.name async for info in storage.list(folder)}, set(names), "The listing")
    for name in names:
        await storage.copy(name, f"{folder}/copy")
        await storage.move(f"{folder}/copy", f"{name}-moved")
        expect_equal(
            await read(storage, f"{name}-moved"), await read(storage, name), f"The copy of {name!a}"
        )
        await storage.delete(f"{name}-moved")
    expect_equal(await storage.delete_many(names), {}, "What could not be deleted")
    expect_equal([info.name async for info in storage.list(folder)], [], "The listing")


@promise
async def long_names_are_names(storage: Storage, folder: str) -> None:
    """Names of up to 1024 bytes in UTF-8 work; a storage with a prefix may refuse the last few."""
    for length in (900, 1024):
        name = _make_long_name(folder, length)
        try:
            await storage.upload(b"long", name)
        except InvalidNameError:
            expect(length > 900, f"a name of {length} bytes")
            expect(not await storage.exists(folder), "nothing is stored")
            continue
        expect_equal(await read(storage, name), b"long", "The content")
        expect_equal([info.name async for info in storage.list(folder)], [name], "The listing")
        await storage.delete(name)
    with expect_error(InvalidNameError, "a name of 1025 bytes"):
        await storage.upload(b"", _make_long_name(folder, 1025))


def _make_long_name(folder: str, length: int) -> str:
    # File systems, and SeaweedFS, allow 255 bytes between two "/".
    name = folder
    while (room := length - len(name.encode()) - 1) > 400:
        name += "/" + "é" * 100
    return f"{name}/{'x' * (room // 2)}/{'y' * (room - room // 2 - 1)}"


@promise
async def composed_and_decomposed_are_one_name(storage: Storage, folder: str) -> None:
    """A name in NFD finds the file of the same name in NFC."""
    composed = f"{folder}/Ä é ガ"
    decomposed = unicodedata.normalize("NFD", composed)
    expect(composed != decomposed, "two spellings")
    expect_equal(await storage.upload(b"1", decomposed), composed, "The stored name")
    expect_equal(await read(storage, composed), b"1", "The content")
    expect_equal(await read(storage, decomposed), b"1", "The content")
    with expect_error(AlreadyExistsError, "the other spelling is taken"):
        await storage.upload(b"", composed, overwrite=False)
    await storage.delete(decomposed)
    expect(not await storage.exists(composed), "it is deleted")


@promise
async def names_are_made_safe(storage: Storage, folder: str) -> None:
    """Empty segments and ``.`` are dropped from a name, by every verb."""
    odd, safe = f"{folder}//a/./b/", f"{folder}/a/b"
    expect_equal(storage.get_name(odd), safe, "The safe form")
    expect_equal(await storage.upload(b"1", odd), safe, "The stored name")
    expect_equal((await storage.get_info(odd)).name, safe, "The name in the record")
    expect_equal(await read(storage, odd), b"1", "The content")
    expect_equal(await storage.move(odd, f"{odd}/.//"), safe, "The name, moved onto itself")
    expect_equal(await storage.copy(odd, f"{folder}/./c"), f"{folder}/c", "The name of the copy")
    await storage.delete(odd)
    expect(not await storage.exists(safe), "it is deleted")


@promise
async def invalid_names_are_refused_by_every_verb(storage: Storage, folder: str) -> None:
    """A name that no storage may hold raises InvalidNameError, and nothing is touched."""
    good = f"{folder}/good"
    await storage.upload(b"good", good)
    for bad in INVALID_NAMES:
        actions: dict[str, Callable[[], Awaitable[object]]] = {
            "upload": partial(storage.upload, b"", bad),
            "open": partial(read, storage, bad),
            "get_info": partial(storage.get_info, bad),
            "get_size": partial(storage.get_size, bad),
            "exists": partial(storage.exists, bad),
            "get_path": partial(storage.get_path, bad),
            "copy from": partial(storage.copy, bad, good),
            "copy to": partial(storage.copy, good, bad),
            "move from": partial(storage.move, bad, good),
            "move to": partial(storage.move, good, bad),
            "delete": partial(storage.delete, bad),
            "delete_many": partial(storage.delete_many, [good, bad]),
        }
        for verb, action in actions.items():
            with expect_error(InvalidNameError, f"{verb} {bad!a}"):
                await action()
        with expect_error(InvalidNameError, f"get_name {bad!a}"):
            storage.get_name(bad)
    expect_equal(await read(storage, good), b"good", "The other file")


@promise
async def a_file_beside_a_folder_is_kept_or_refused(storage: Storage, folder: str) -> None:
    """``a`` beside ``a/b`` works, or the second one is refused and the first one is intact."""
    for first, second in (("a", "a/b"), ("c/d", "c"), ("e/f", "e/f/g/h")):
        await storage.upload(b"first", f"{folder}/{first}")
        try:
            await storage.upload(b"second", f"{folder}/{second}")
        except AlreadyExistsError:
            expect(not await storage.exists(f"{folder}/{second}"), "nothing is stored")
        else:
            expect_equal(await read(storage, f"{folder}/{second}"), b"second", "The second")
        expect_equal(await read(storage, f"{folder}/{first}"), b"first", "The first")
        await storage.delete(f"{folder}/{second}")
        expect_equal(await read(storage, f"{folder}/{first}"), b"first", "The first, alone")


@promise
async def get_path_checks_its_arguments(storage: Storage, folder: str) -> None:
    """A link lives a second at least. Whether there is a file is not looked at."""
    for seconds in (0, -1):
        with expect_error(ValueError, f"expires_in={seconds}"):
            await storage.get_path(f"{folder}/a", expires_in=seconds)

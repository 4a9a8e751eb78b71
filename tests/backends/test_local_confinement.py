"""No name leads out of the root of a LocalStorage, and nothing but regular files is a file."""

import asyncio
import ctypes
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastapi_async_storages import LocalStorage
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    ConfigurationError,
    InvalidNameError,
    NotFoundError,
    StorageError,
)
from tests.backends.local_processes import names_in

pytestmark = pytest.mark.anyio

SECRET = b"what lies outside"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "file").write_bytes(b"inside")
    return folder


async def assert_is_no_file(storage: LocalStorage, name: str) -> None:
    """No verb takes it for a file, nor touches it."""
    assert not await storage.exists(name)
    for action in (
        storage.get_info(name),
        storage.get_local_path(name),
        storage.copy(name, "copied"),
        storage.move(name, "moved"),
    ):
        with pytest.raises(NotFoundError):
            await action
    with pytest.raises(NotFoundError):
        async with storage.open(name):
            pass
    for overwrite in (True, False):
        with pytest.raises(AlreadyExistsError):
            await storage.upload(b"new", name, overwrite=overwrite)
        for verb in (storage.copy, storage.move):
            with pytest.raises(AlreadyExistsError):
                await verb("inside/file", name, overwrite=overwrite)
    await storage.delete(name)
    assert await storage.delete_many([name]) == {}
    assert [info.name async for info in storage.list()] == ["inside/file"]


@pytest.mark.parametrize("target", ["outside/secret", "root/inside/file", "missing"])
async def test_a_link_to_a_file_is_no_file(
    root: Path, outside: Path, tmp_path: Path, target: str
) -> None:
    (root / "link").symlink_to(tmp_path / target)
    await assert_is_no_file(LocalStorage(root), "link")
    assert (root / "link").is_symlink()
    assert (outside / "secret").read_bytes() == SECRET


@pytest.mark.parametrize("target", ["outside", "root/inside", "missing", "root"])
async def test_a_link_to_a_folder_is_no_folder(
    root: Path, outside: Path, tmp_path: Path, target: str
) -> None:
    (root / "link").symlink_to(tmp_path / target)
    storage = LocalStorage(root)
    for name in ("link/secret", "link/file", "link/new", "link/deep/er", "link"):
        await assert_is_no_file(storage, name)
    assert [info.name async for info in storage.list("link")] == []
    assert names_in(outside) == ["secret"]
    assert names_in(root / "inside") == ["file"]


async def test_the_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    storage = LocalStorage(tmp_path / "link")
    await storage.upload(b"1", "a/b")
    assert (root / "a" / "b").read_bytes() == b"1"
    assert [info.name async for info in storage.list()] == ["a/b", "inside/file"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket"])
async def test_only_regular_files_are_files(
    root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(root)
    if kind == "folder":
        (root / "odd").mkdir()
    elif kind == "pipe":
        os.mkfifo(root / "odd")  # Opening it would wait for ever.
    else:
        monkeypatch.chdir(root)  # The path of a socket has a limit of about 100 bytes.
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("odd")
    async with asyncio.timeout(10):
        await assert_is_no_file(storage, "odd")
    assert (root / "odd").exists()


async def test_names_in_the_hidden_folder_are_refused(root: Path) -> None:
    storage = LocalStorage(root)
    await storage.upload(b"1", "a")
    hidden = ".fastapi-async-storages"
    for name in (hidden, f"{hidden}/x", f"{hidden.upper()}/x", f"./{hidden}//x"):
        with pytest.raises(InvalidNameError, match="belongs to the storage"):
            await storage.upload(b"", name)
        with pytest.raises(InvalidNameError, match="belongs to the storage"):
            storage.get_name(name)
    for prefix in (hidden, f"{hidden}/records"):
        with pytest.raises(InvalidNameError):
            assert [info async for info in storage.list(prefix)]
    assert [info.name async for info in storage.list()] == ["a", "inside/file"]
    await storage.upload(b"", f"a-folder/{hidden}")
    await storage.upload(b"", f"{hidden}-2")


@pytest.mark.parametrize("target", ["outside", "outside/secret", "missing"])
@pytest.mark.parametrize("part", ["", "records", "tmp", "locks"])
async def test_a_hidden_folder_elsewhere_is_refused(
    root: Path, outside: Path, tmp_path: Path, target: str, part: str
) -> None:
    hidden = root / ".fastapi-async-storages"
    if part:
        hidden.mkdir()
    (hidden / part).symlink_to(tmp_path / target)
    storage = LocalStorage(root)
    with pytest.raises(ConfigurationError, match="is not a folder"):
        await storage.upload(b"1", "a")
    assert names_in(outside) == ["secret"]
    assert not (root / "a").exists()


async def test_a_root_that_is_a_file_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"")
    for root in (tmp_path / "root", tmp_path / "root" / "below"):
        storage = LocalStorage(root)
        for action in (storage.check(), storage.upload(b"", "a"), storage.exists("a")):
            with pytest.raises(ConfigurationError, match=r"root of LocalStorage.* is not a folder"):
                await action


RENAME_EXCHANGE = 2
"""Swaps two names at once. Source: renameat2(2)."""


@pytest.fixture
def swaps(root: Path, outside: Path) -> Iterator[list[int]]:
    """An attacker who swaps a folder for a link to the outside, as fast as he can."""
    aside = root / "aside"
    aside.symlink_to(outside)
    (outside / "file").write_bytes(SECRET)
    libc = ctypes.CDLL(None, use_errno=True)
    names = (-1, os.fsencode(root / "inside"), -1, os.fsencode(aside), RENAME_EXCHANGE)
    stop = threading.Event()
    swaps: list[int] = []

    def swap() -> None:
        while not stop.is_set():
            swaps.append(libc.renameat2(*names))

    thread = threading.Thread(target=swap)
    thread.start()
    yield swaps
    stop.set()
    thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="swaps names at once by renameat2")
async def test_no_race_with_a_link_leads_outside(
    root: Path, outside: Path, swaps: list[int]
) -> None:
    storage = LocalStorage(root)
    counts = {"read": 0, "refused": 0}

    async def use(number: int) -> None:
        for turn in range(1000):
            if turn >= 50 and min(counts.values()) > 10:  # A busy machine takes more turns.
                return
            try:
                async with storage.open("inside/file") as reader:
                    assert await reader.read() != SECRET
                counts["read"] += 1
                await storage.upload(b"new", f"inside/{number}-{turn}")
                await storage.move(f"inside/{number}-{turn}", "inside/moved")
                await storage.delete("inside/secret")
                assert "inside/secret" not in [info.name async for info in storage.list("inside")]
            except StorageError:
                counts["refused"] += 1

    await asyncio.gather(*map(use, range(4)))
    assert counts["read"] > 10, counts
    assert counts["refused"] > 10, counts
    assert swaps.count(0) > 100
    assert names_in(outside) == ["file", "secret"]

"""What LocalStorage promises beyond the contract: files on a disk, as other programs see them."""

import asyncio
import errno
import gc
import os
import shutil
import stat
import threading
import tracemalloc
import unicodedata
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fastapi_async_storages import LocalStorage
from fastapi_async_storages.exceptions import (
    AlreadyExistsError,
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    IncompleteReadError,
    InvalidNameError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionFailedError,
)
from fastapi_async_storages.preconditions import Preconditions
from fastapi_async_storages.ranges import ByteRange
from fastapi_async_storages.testing.contract._cancellation import cancel_at
from tests.backends.local_processes import names_in

pytestmark = pytest.mark.anyio

HIDDEN = ".fastapi-async-storages"
BLOCK = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


async def read(storage: LocalStorage, name: str) -> bytes:
    async with storage.open(name) as reader:
        return await reader.read()


async def list_names(storage: LocalStorage, prefix: str = "") -> list[str]:
    return [info.name async for info in storage.list(prefix)]


def list_hidden(root: Path, folder: str) -> list[str]:
    return [path.name for path in (root / HIDDEN / folder).rglob("*") if path.is_file()]


# How files lie on the disk


async def test_a_file_lies_under_its_own_name(root: Path, storage: LocalStorage) -> None:
    await storage.upload(b"content", "deep/er/Größe.txt")
    assert (root / "deep" / "er" / "Größe.txt").read_bytes() == b"content"
    assert await storage.get_local_path("deep/er/Größe.txt") == root / "deep" / "er" / "Größe.txt"
    with pytest.raises(NotFoundError):
        await storage.get_local_path("deep/er")


async def test_nothing_is_made_before_the_first_file(root: Path, storage: LocalStorage) -> None:
    async with storage:
        assert await list_names(storage) == []
        assert not await storage.exists("a")
        await storage.delete("a")
    assert not root.exists()
    await storage.aclose()
    async with storage:
        await storage.check()
    assert names_in(root) == [HIDDEN]


async def test_a_relative_root_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = await asyncio.to_thread(
        LocalStorage, "var/files"
    )  # It asks for the working directory.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await storage.upload(b"1", "a")
    assert (tmp_path / "var" / "files" / "a").read_bytes() == b"1"


async def test_modes_follow_the_umask_and_the_hidden_folder_is_private(
    root: Path, storage: LocalStorage
) -> None:
    before = os.umask(0o027)
    try:
        await storage.upload(b"1", "folder/file")
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "folder" / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "folder").stat().st_mode) == 0o750
    for path in ((root / HIDDEN), *(root / HIDDEN).rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


async def test_the_longest_part_of_a_name(storage: LocalStorage) -> None:
    for longest in ("x" * 255, "é" * 127 + "x"):
        await storage.upload(b"1", f"a/{longest}/{longest}")
        assert await read(storage, f"a/{longest}/{longest}") == b"1"
        for name in (f"{longest}x", f"a/{longest}x/b"):
            with pytest.raises(InvalidNameError, match="has 256 bytes in UTF-8, at most 255"):
                await storage.upload(b"", name)


async def test_empty_folders_go_and_others_stay(root: Path, storage: LocalStorage) -> None:
    await storage.upload(b"1", "a/b/c/d/file")
    await storage.upload(b"1", "a/file")
    await storage.delete("a/b/c/d/file")
    assert names_in(root / "a") == ["file"]
    await storage.move("a/file", "file")
    assert names_in(root) == [HIDDEN, "file"]
    await storage.delete("file")
    assert names_in(root) == [HIDDEN]
    assert list_hidden(root, "records") == list_hidden(root, "tmp") == []


async def test_a_listing_is_ordered_by_code_points(storage: LocalStorage) -> None:
    names = ["a b", "a!", "a.txt", "a/b/c", "a/x", "a/é", "a/日", "a/😀", "a0/z", "ab", "B", "é"]
    for name in names:
        await storage.upload(b"", name)
    assert await list_names(storage) == sorted(names)
    assert await list_names(storage, "a") == ["a/b/c", "a/x", "a/é", "a/日", "a/😀"]


async def test_a_listing_skips_what_no_name_can_ask_for(root: Path, storage: LocalStorage) -> None:
    await storage.upload(b"", "folder/good")
    for odd in (
        "back\\slash",
        "line\nbreak",
        unicodedata.normalize("NFD", "é"),
        os.fsdecode(b"not-utf-8-\xff"),
    ):
        (root / odd).write_bytes(b"")
        (root / f"folder-{odd}").mkdir()
        (root / f"folder-{odd}" / "file").write_bytes(b"")
    (root / "empty" / "folder").mkdir(parents=True)
    assert await list_names(storage) == ["folder/good"]


async def test_a_deep_tree_is_listed_without_keeping_folders_open(
    root: Path, storage: LocalStorage
) -> None:
    deep = "/".join("x" * 400)
    await storage.upload(b"1", deep)
    await storage.upload(b"2", "x/y")
    descriptors = count_descriptors()
    names = []
    async for info in storage.list():
        names.append(info.name)
        assert count_descriptors() == descriptors
    assert names == [deep, "x/y"]
    await storage.delete(deep)
    assert names_in(root / "x") == ["y"]


async def test_a_folder_deleted_while_it_is_listed_is_skipped(
    root: Path, storage: LocalStorage
) -> None:
    for number in range(150):  # More than one trip to a thread.
        await storage.upload(b"", f"a/{number:03}")
    await storage.upload(b"", "b/file")
    await storage.upload(b"", "c/file")
    names: list[str] = []
    async for info in storage.list():
        if not names:
            shutil.rmtree(root / "a")
            shutil.rmtree(root / "b")
        names.append(info.name)
    assert names[-1] == "c/file"
    assert names[:-1] == [f"a/{number:03}" for number in range(100)]


# Files that other programs put there


async def test_a_file_put_there_by_hand_works(root: Path, storage: LocalStorage) -> None:
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "a.png").write_bytes(b"by hand")
    info = await storage.get_info("photos/a.png")
    assert (info.size, info.content_type, dict(info.metadata)) == (7, "image/png", {})
    assert info.last_modified is not None
    assert info.last_modified.timestamp() == pytest.approx(
        (root / "photos" / "a.png").stat().st_mtime
    )
    assert await storage.get_info("photos/a.png") == info
    assert [listed async for listed in storage.list()] == [info]
    assert await read(storage, "photos/a.png") == b"by hand"
    await storage.copy("photos/a.png", "copy")
    await storage.move("photos/a.png", "moved", if_match=info.etag)
    for name in ("copy", "moved"):
        assert await read(storage, name) == b"by hand"
        assert (await storage.get_info(name)).content_type == "image/png"
    (root / "by-hand").write_bytes(b"1")
    await storage.upload(b"2", "by-hand", content_type="text/own")
    assert (await storage.get_info("by-hand")).content_type == "text/own"


def edit_in_place(path: Path) -> None:
    path.write_bytes(b"edited by hand")


def replace_by_rename(path: Path) -> None:
    path.with_name("new").write_bytes(b"edited by hand")
    path.with_name("new").rename(path)


@pytest.mark.parametrize("edit", [edit_in_place, replace_by_rename])
async def test_an_edited_file_keeps_what_is_not_about_its_bytes(
    root: Path, storage: LocalStorage, edit: Callable[[Path], object]
) -> None:
    metadata = {"filename": "Ö", "own": "1", "checksum": "sha256:0", "width": "1", "height": "2"}
    await storage.upload(
        b"old", "a", content_type="text/own", metadata=metadata, cache_control="no-store"
    )
    before = await storage.get_info("a")
    edit(root / "a")
    after = await storage.get_info("a")
    assert (after.size, after.content_type, after.cache_control) == (14, "text/own", "no-store")
    assert (after.filename, dict(after.metadata)) == ("Ö", {"own": "1"})
    assert (after.checksum, after.width, after.height) == (None, None, None)
    assert after.etag not in (None, before.etag)
    async with storage.open("a") as reader:
        assert reader.info == after
        assert await reader.read() == b"edited by hand"
    edit(root / "a")
    assert (await storage.get_info("a")).etag != after.etag


@pytest.mark.parametrize("whole_seconds", [False, True])
async def test_a_restored_backup_keeps_everything(
    root: Path, tmp_path: Path, storage: LocalStorage, whole_seconds: bool
) -> None:
    metadata = {"filename": "Ö", "checksum": "sha256:0", "width": "1", "height": "2", "own": "1"}
    await storage.upload(b"1", "deep/er/a", content_type="text/own", metadata=metadata)
    before = await storage.get_info("deep/er/a")
    shutil.copytree(root, tmp_path / "restored")
    path = tmp_path / "restored" / "deep" / "er" / "a"
    if whole_seconds:
        os.utime(path, (int(path.stat().st_mtime), int(path.stat().st_mtime)))
    restored = LocalStorage(tmp_path / "restored")
    after = await restored.get_info("deep/er/a")
    assert (after.content_type, after.filename, after.checksum) == ("text/own", "Ö", "sha256:0")
    assert (after.width, after.height, dict(after.metadata)) == (1, 2, {"own": "1"})
    assert after.etag not in (None, before.etag)
    assert await read(restored, "deep/er/a") == b"1"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"records": [{"etag": 1}]}', b"\xff"])
async def test_a_damaged_record_is_said_and_repaired_by_an_upload(
    root: Path, storage: LocalStorage, damage: bytes
) -> None:
    await storage.upload(b"1", "a", metadata={"key": "value"})
    (record,) = (root / HIDDEN / "records").rglob("*.json")
    record.write_bytes(damage)
    for action in (storage.get_info("a"), read(storage, "a"), storage.copy("a", "b")):
        with pytest.raises(BackendError, match=f"its record .*{record.name} is damaged"):
            await action
    await storage.upload(b"2", "a", metadata={"key": "new"})
    assert dict((await storage.get_info("a")).metadata) == {"key": "new"}
    record.write_bytes(damage)
    await storage.delete("a")
    assert not record.exists()


async def test_a_file_cut_while_it_is_read_raises(root: Path, storage: LocalStorage) -> None:
    await storage.upload(b"x" * 3 * BLOCK, "a")
    async with storage.open("a") as reader:
        assert len(await anext(aiter(reader))) == BLOCK
        os.truncate(root / "a", 10)
        with pytest.raises(IncompleteReadError, match=f"after {BLOCK} of {3 * BLOCK} bytes"):
            await reader.read()


async def test_a_reader_keeps_the_version_that_it_opened(storage: LocalStorage) -> None:
    await storage.upload(b"1" * 3 * BLOCK, "a")
    async with storage.open("a") as reader:
        chunks = aiter(reader)
        assert await anext(chunks) == b"1" * BLOCK
        await storage.upload(b"2", "a")
        await storage.delete("a")
        assert b"".join([chunk async for chunk in chunks]) == b"1" * 2 * BLOCK


async def replace_twice(storage: LocalStorage) -> None:
    for content in (b"22", b"333"):
        await storage.upload(content, "a", metadata={"size": str(len(content))})


async def delete(storage: LocalStorage) -> None:
    await storage.delete("a")


async def delete_and_store_again(storage: LocalStorage) -> None:
    await storage.delete("a")
    await storage.upload(b"22", "a", metadata={"size": "2"})


async def move_away_and_replace(storage: LocalStorage) -> None:
    await storage.move("a", "b")
    await storage.upload(b"22", "a", metadata={"size": "2"})


@pytest.mark.parametrize(
    "change, size",
    [(replace_twice, 3), (delete, None), (delete_and_store_again, 2), (move_away_and_replace, 2)],
)
async def test_a_file_that_changes_between_its_bytes_and_its_record(
    root: Path,
    storage: LocalStorage,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[LocalStorage], Coroutine[Any, Any, None]],
    size: int | None,
) -> None:
    """The worst moment: the file is open, and its record is about to be read."""
    open_file = os.open

    def change_before_the_record(path: str, *args: Any, **kwargs: Any) -> int:
        if path.endswith(".json"):
            monkeypatch.setattr(os, "open", open_file)
            asyncio.run(change(LocalStorage(root)))  # In the worker thread of the reader.
        return open_file(path, *args, **kwargs)

    async def open_and_read() -> tuple[int, str]:
        async with storage.open("a") as reader:
            return len(await reader.read()), reader.info.metadata["size"]

    async def get_info() -> tuple[int, str]:
        info = await storage.get_info("a")
        return info.size, info.metadata["size"]

    for look in (open_and_read, get_info):
        await storage.upload(b"1", "a", metadata={"size": "1"})
        monkeypatch.setattr(os, "open", change_before_the_record)
        if size is None:
            with pytest.raises(NotFoundError):
                await look()
        else:
            assert await look() == (size, str(size))


# Where hard links do not exist, and other limits of file systems


async def test_creating_works_without_hard_links(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    results = await asyncio.gather(
        *(storage.upload(b"%d" % n, "a", overwrite=False) for n in range(20)),
        return_exceptions=True,
    )
    assert results.count("a") == 1
    assert sum(isinstance(result, AlreadyExistsError) for result in results) == 19
    await storage.move("a", "b", overwrite=False)
    assert await list_names(storage) == ["b"]


async def test_a_file_that_another_program_makes_meanwhile_is_kept(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def be_slower(*args: object, **kwargs: object) -> None:
        (root / "a").write_bytes(b"the other program's")
        link(*args, **kwargs)  # type: ignore[arg-type]

    await storage.check()
    monkeypatch.setattr(os, "link", be_slower)
    with pytest.raises(AlreadyExistsError):
        await storage.upload(b"1", "a", content_type="text/own", overwrite=False)
    assert await read(storage, "a") == b"the other program's"
    assert (await storage.get_info("a")).content_type == "application/octet-stream"


@contextmanager
def unprivileged() -> Iterator[None]:
    """Nobody: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_folder_that_may_only_be_read(storage: LocalStorage) -> None:
    # pytest's own folder is closed to nobody.
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        root = Path(directory, "root")
        (root / "folder").mkdir(parents=True)
        (root / "folder" / "a").write_bytes(b"1")
        (root / "secret").write_bytes(b"2")
        (root / "secret").chmod(0)
        (root / "closed").mkdir(0)
        for path in (root / "folder", root):
            path.chmod(0o555)
        storage = LocalStorage(root)
        with unprivileged():
            async with storage:
                assert await read(storage, "folder/a") == b"1"
                assert await list_names(storage, "folder") == ["folder/a"]
                for action in (
                    storage.check(),
                    storage.upload(b"", "b"),
                    storage.delete("folder/a"),
                    storage.move("folder/a", "b"),
                    read(storage, "secret"),
                    storage.exists("closed/a"),
                    list_names(storage, "closed"),
                ):
                    with pytest.raises(PermissionDeniedError, match="no permission"):
                        await action
                failed = await storage.delete_many(["folder/a", "missing"])
                assert [(name, type(error)) for name, error in failed.items()] == [
                    ("folder/a", PermissionDeniedError)
                ]
        for path in (root, root / "folder"):
            path.chmod(0o755)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [BLOCK, 5 * BLOCK])
async def test_a_disk_that_takes_no_more_leaves_nothing(
    root: Path, storage: LocalStorage, size: int
) -> None:
    await storage.upload(b"old", "a", metadata={"key": "old"})
    descriptors = count_descriptors()
    with file_size_limit(BLOCK // 2):
        for name in ("a", "b"):
            with pytest.raises(BackendError, match="allows no file of this size"):
                await storage.upload(b"x" * size, name)
    assert await read(storage, "a") == b"old"
    assert await list_names(storage) == ["a"]
    assert list_hidden(root, "tmp") == []
    assert count_descriptors() == descriptors


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "link", "mkdir"])
@pytest.mark.parametrize(
    "number, kind, message",
    [
        (errno.ENOSPC, BackendUnavailableError, "the file system is full"),
        (errno.EDQUOT, BackendUnavailableError, "the disk quota is used up"),
        (errno.EROFS, PermissionDeniedError, "mounted read-only"),
        (errno.ETIMEDOUT, BackendTimeoutError, "does not answer"),
        (errno.EXDEV, BackendError, "on another file system than the root"),
        (errno.EIO, BackendError, "the file system failed: Input/output error"),
    ],
)
async def test_a_failing_file_system_is_said_and_changes_nothing(
    root: Path,
    storage: LocalStorage,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    kind: type[BackendError],
    message: str,
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number), str(root))

    await storage.upload(b"old", "a", metadata={"key": "old"})
    before = await storage.get_info("a")
    descriptors = count_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        for name in ("a", "new/b"):
            if (call, name) in (("link", "a"), ("mkdir", "a")):
                continue  # Replacing a file needs neither.
            with pytest.raises(kind, match=message) as raised:
                await storage.upload(b"new", name, overwrite=name == "a")
            assert (raised.value.storage, raised.value.name) == (repr(storage), name)
    assert await storage.get_info("a") == before
    assert await read(storage, "a") == b"old"
    assert await list_names(storage) == ["a"]
    assert not await storage.exists("new/b")
    assert list_hidden(root, "tmp") == []
    assert count_descriptors() == descriptors


async def test_a_folder_that_vanishes_for_ever_is_said(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    await storage.upload(b"old", "a/b")
    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(BackendUnavailableError, match="or its folder, changes too fast"):
        await storage.upload(b"new", "a/c", overwrite=False)
    assert await list_names(storage) == ["a/b"]
    assert list_hidden(root, "tmp") == []


async def test_a_file_that_changes_for_ever_is_said(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = os.open

    def change_before_the_record(path: str, *args: Any, **kwargs: Any) -> int:
        if path.endswith(".json"):
            replace_by_rename(root / "a")
        return open_file(path, *args, **kwargs)

    await storage.upload(b"1", "a")
    (root / "a").write_bytes(b"by hand")
    descriptors = count_descriptors()
    monkeypatch.setattr(os, "open", change_before_the_record)
    with pytest.raises(BackendUnavailableError, match="changes too fast"):
        await storage.get_info("a")
    with pytest.raises(BackendUnavailableError, match="changes too fast"):
        await read(storage, "a")
    assert count_descriptors() == descriptors


async def test_too_many_open_files_are_said(storage: LocalStorage) -> None:
    resource = pytest.importorskip("resource")
    await storage.upload(b"1", "a")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(BackendUnavailableError, match="too many open files"):
            await storage.get_info("a")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert await read(storage, "a") == b"1"


# Nothing is left behind


def count_descriptors() -> int:
    gc.collect()
    return len(names_in(Path("/dev/fd")))


async def test_a_cancelled_call_leaves_nothing_open(root: Path, storage: LocalStorage) -> None:
    async def source() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * BLOCK

    async def open_and_read(name: str) -> None:
        async with storage.open(name) as reader:
            await reader.read()

    await storage.upload(b"x" * 3 * BLOCK, "a")
    await storage.upload(b"x", "small")
    descriptors = count_descriptors()
    for make in (
        lambda: storage.upload(source(), "new"),
        lambda: open_and_read("a"),
        lambda: open_and_read("small"),
        lambda: storage.copy("a", "copy"),
        lambda: storage.move("a", "a"),
        lambda: storage.delete("new"),
        storage.check,
    ):
        for step in count():
            ended = await cancel_at(step, make())
            assert count_descriptors() == descriptors
            assert list_hidden(root, "tmp") == []
            if ended:
                assert step > 0
                break


async def test_clean_ups_and_uploads_at_the_same_time(root: Path, storage: LocalStorage) -> None:
    """Each process cleans up when it starts; what is just being written is no leftover."""
    stop = threading.Event()

    def clean_up() -> None:
        async def open_and_close() -> None:
            async with LocalStorage(root):
                pass

        while not stop.is_set():
            asyncio.run(open_and_close())

    async def upload(number: int) -> None:
        for turn in range(10):
            await storage.upload(b"x" * BLOCK, f"{number}-{turn}", overwrite=bool(number % 2))

    await storage.check()
    thread = threading.Thread(target=clean_up)
    thread.start()
    try:
        await asyncio.gather(*map(upload, range(5)))
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)
    assert len(await list_names(storage)) == 50


async def test_readers_left_early_leave_nothing_open(storage: LocalStorage) -> None:
    await storage.upload(b"x" * 3 * BLOCK, "a")
    descriptors = count_descriptors()
    for _ in range(20):
        async with storage.open("a") as reader:
            async for _chunk in reader:
                break
    assert count_descriptors() == descriptors


async def test_a_small_file_is_closed_as_soon_as_it_is_read(storage: LocalStorage) -> None:
    """However slow the client is that its bytes are for."""
    await storage.upload(b"0123456789", "a")
    descriptors = count_descriptors()
    async with storage.open("a") as reader:
        assert count_descriptors() == descriptors
        assert await reader.read() == b"0123456789"
    async with storage.open("a", byte_range=ByteRange(2, 4)) as reader:
        assert count_descriptors() == descriptors
        assert await reader.read() == b"234"


async def test_a_file_that_was_not_wanted_is_not_left_open(storage: LocalStorage) -> None:
    await storage.upload(b"x" * 3 * BLOCK, "a")
    etag = (await storage.get_info("a")).etag
    descriptors = count_descriptors()
    with pytest.raises(NotModifiedError):
        async with storage.open("a", preconditions=Preconditions(if_none_match=(str(etag),))):
            pass
    with pytest.raises(PreconditionFailedError):
        await storage.copy("a", "b", if_match='"other"')
    assert count_descriptors() == descriptors


async def test_what_is_durable_is_synced_in_order(
    root: Path, storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes before their name, the name before the answer: else a power cut leaves a half file."""
    synced: list[int] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def check_replace(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        assert os.stat(source, dir_fd=src_dir_fd).st_ino in synced
        replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        synced.append(-1)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", check_replace)
    await storage.upload(b"x" * 3 * BLOCK, "deep/er/a")
    record_replaced, replaced = (index for index, inode in enumerate(synced) if inode == -1)
    (record,) = (root / HIDDEN / "records").rglob("*.json")
    assert record.parent.stat().st_ino in synced[record_replaced:replaced]
    for folder in (root, root / "deep", root / "deep" / "er"):
        assert folder.stat().st_ino in synced[replaced:]


async def test_threads_with_loops_of_their_own_share_a_root(root: Path) -> None:
    await LocalStorage(root).upload(b"\0", "a", metadata={"number": "0"})
    errors: list[BaseException] = []

    async def work(first: int) -> None:
        storage = LocalStorage(root)
        for number in range(first, first + 20):
            await storage.upload(bytes([number]) * 1000, "a", metadata={"number": str(number)})
            async with storage.open("a") as reader:
                content = await reader.read()
                assert reader.info.metadata["number"] == str(content[0])

    def run(first: int) -> None:
        try:
            asyncio.run(work(first))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=run, args=(first,)) for first in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert errors == []


async def test_a_reader_holds_one_block_at_a_time(storage: LocalStorage) -> None:
    await storage.upload(bytes(4 * BLOCK), "a")
    tracemalloc.start()
    try:
        async with storage.open("a") as reader:
            chunks = aiter(reader)
            for _ in range(2):
                chunk = await anext(chunks)
                held = tracemalloc.get_traced_memory()[0]
                assert len(chunk) == BLOCK <= held < 1.5 * BLOCK
    finally:
        tracemalloc.stop()

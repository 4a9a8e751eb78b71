"""LocalStorage with several processes on one root, and with processes that die."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fastapi_async_storages import LocalStorage
from fastapi_async_storages.exceptions import NotFoundError
from tests.backends.local_processes import NEW, OLD, names_in

pytestmark = pytest.mark.anyio

HIDDEN = ".fastapi-async-storages"


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system without a disk, where there is one: each sync costs nothing."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def start(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.backends.local_processes", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


async def wait(process: "subprocess.Popen[str]") -> str:
    output, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0
    return output


async def test_readers_see_one_version_of_several_writing_processes(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    await storage.upload(b"\0" * 1000, "a", content_type="text/0", metadata={"number": "0"})
    writers = [start("overwrite", tmp_path, "a", first, 60) for first in (7, 7000)]
    reads: Counter[int] = Counter()
    while any(writer.poll() is None for writer in writers):
        async with storage.open("a") as reader:
            content = await reader.read()
        for info in (reader.info, await storage.get_info("a")):
            number = int(info.metadata["number"])
            assert (info.content_type, info.size) == (f"text/{number}", 1000 + number % 7)
        number = int(reader.info.metadata["number"])
        assert content == bytes([number % 256]) * (1000 + number % 7)
        reads[number] += 1
    for writer in writers:
        await wait(writer)
    assert len(reads) > 20
    assert names_in(tmp_path / HIDDEN / "tmp") == []


async def test_one_of_several_creating_processes_wins(tmp_path: Path) -> None:
    outputs = await asyncio.gather(*(wait(start("create_all", tmp_path, 50)) for _ in range(4)))
    winners = {
        name: str(pid)
        for output in outputs
        for pid, names in [json.loads(output)]
        for name in names
    }
    assert sum(len(json.loads(output)[1]) for output in outputs) == len(winners) == 50
    storage = LocalStorage(tmp_path)
    async for info in storage.list():
        async with storage.open(info.name) as reader:
            assert await reader.read() == winners[info.name].encode()


async def test_what_a_killed_upload_left_is_removed_by_the_next_process(tmp_path: Path) -> None:
    living, dying = (start("upload_for_ever", tmp_path) for _ in range(2))
    try:
        for process in (living, dying):
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "writing\n"
        assert len(names_in(tmp_path / HIDDEN / "tmp")) == 2
        dying.kill()
        await asyncio.to_thread(dying.communicate, timeout=10)
        async with LocalStorage(tmp_path) as storage:
            # The one of the process that lives stays.
            assert len(names_in(tmp_path / HIDDEN / "tmp")) == 1
            assert [info.name async for info in storage.list()] == []
        living.send_signal(signal.SIGINT)
        await asyncio.to_thread(living.communicate, timeout=10)
        assert names_in(tmp_path / HIDDEN / "tmp") == []
    finally:
        for process in (living, dying):
            process.kill()
            process.communicate()


async def describe(storage: LocalStorage, name: str) -> tuple[bytes, str] | None:
    try:
        async with storage.open(name) as reader:
            content, number = await reader.read(), reader.info.metadata["number"]
    except NotFoundError:
        return None
    assert (await storage.get_info(name)).metadata["number"] == number
    return content, number


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize(
    "action, allowed",
    [
        ("replace", [{"a/file": (OLD, "old")}, {"a/file": (NEW, "new")}]),
        ("create", [{"a/file": (OLD, "old")}, {"a/file": (OLD, "old"), "a/new": (NEW, "new")}]),
        ("move", [{"a/file": (OLD, "old")}, {"b/file": (OLD, "old")}]),
        (
            "move_if_free",
            [
                {"a/file": (OLD, "old")},
                {"b/file": (OLD, "old")},
                {"a/file": (OLD, "old"), "b/file": (OLD, "old")},
            ],
        ),
        ("delete", [{"a/file": (OLD, "old")}, {}]),
    ],
)
async def test_a_process_killed_anywhere_leaves_whole_files(
    memory_path: Path, action: str, allowed: list[dict[str, tuple[bytes, str]]]
) -> None:
    output = await wait(start("crash_everywhere", memory_path, action))
    steps = [json.loads(line) for line in output.splitlines()]
    assert [survived for _, survived in steps] == [False] * (len(steps) - 1) + [True]
    assert len(steps) > 3
    seen = []
    for step, survived in steps:
        root = memory_path / str(step)
        storage = LocalStorage(root)
        async with storage:
            names = [info.name async for info in storage.list()]
            state = {name: await describe(storage, name) for name in names}
            assert state in allowed, f"killed before change {step}"
            assert names_in(root / HIDDEN / "tmp") == []
            if survived:
                assert state == allowed[1]
            seen.append(state)
            # And nothing is in the way of the next ones.
            for name in ("a/file", "a/new", "b/file"):
                await storage.upload(b"later", name, metadata={"number": "later"})
                assert await describe(storage, name) == (b"later", "later")
        shutil.rmtree(root)
    assert seen[0] == allowed[0]

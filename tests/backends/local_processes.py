"""What other processes do to the folder of a LocalStorage, in tests of it."""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi_async_storages import LocalStorage
from fastapi_async_storages.exceptions import AlreadyExistsError

OLD, NEW = b"old" * 1000, b"new" * 2000
CHANGING_CALLS = ("write", "fsync", "mkdir", "rename", "replace", "link", "unlink", "rmdir")
"""All that a storage does to a file system, but for the opening of what it then writes."""


def names_in(folder: Path) -> list[str]:
    """Return the names of all that is in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


async def overwrite(root: str, name: str, first: int, count: int) -> None:
    """Store versions of a file whose bytes and record say which version they are of."""
    storage = LocalStorage(root)
    for number in range(first, first + count):
        await storage.upload(
            bytes([number % 256]) * (1000 + number % 7),
            name,
            content_type=f"text/{number}",
            metadata={"number": str(number)},
        )


async def create_all(root: str, names: int) -> None:
    """Try to create many files before anybody else does, and print which ones."""
    storage = LocalStorage(root)
    created = []
    for name in map(str, range(names)):
        try:
            await storage.upload(str(os.getpid()).encode(), name, overwrite=False)
            created.append(name)
        except AlreadyExistsError:
            pass
    print(json.dumps([os.getpid(), created]))  # noqa: T201 - that is how it answers


async def upload_for_ever(root: str) -> None:
    """Upload a file that never ends, and say so once a part of it is on the disk."""

    async def source() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        print("writing", flush=True)  # noqa: T201
        await asyncio.sleep(60)

    await LocalStorage(root).upload(source(), "deep/er/file")


def crash_everywhere(root: str, action: str) -> None:
    """Kill a process before its n-th change of the file system, for each n until it survives.

    After each the state of the storage is printed: the names, contents and numbers in the records.
    """
    for step in itertools.count():
        storage_root = str(Path(root, str(step)))
        asyncio.run(_store(storage_root, OLD, "old"))
        process = os.fork()
        if process == 0:
            _die_before(step)
            asyncio.run(_ACTIONS[action](storage_root))
            os._exit(0)
        _, status = os.waitpid(process, 0)
        survived = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
        assert survived or os.WIFSIGNALED(status)
        print(json.dumps([step, survived]))  # noqa: T201
        if survived:
            return


async def _store(root: str, content: bytes, number: str) -> None:
    await LocalStorage(root).upload(content, "a/file", metadata={"number": number})


async def _replace(root: str) -> None:
    await _store(root, NEW, "new")


async def _create(root: str) -> None:
    await LocalStorage(root).upload(NEW, "a/new", metadata={"number": "new"}, overwrite=False)


async def _move(root: str) -> None:
    await LocalStorage(root).move("a/file", "b/file")


async def _move_if_free(root: str) -> None:
    await LocalStorage(root).move("a/file", "b/file", overwrite=False)


async def _delete(root: str) -> None:
    await LocalStorage(root).delete("a/file")


_ACTIONS: dict[str, Callable[[str], Any]] = {
    "replace": _replace,
    "create": _create,
    "move": _move,
    "move_if_free": _move_if_free,
    "delete": _delete,
}


def _die_before(step: int) -> None:
    steps = itertools.count()

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in CHANGING_CALLS:
        setattr(os, name, wrap(getattr(os, name)))


if __name__ == "__main__":
    # What a shell has started in the background ignores it, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    match sys.argv[1:]:
        case ["overwrite", root, name, first, count]:
            asyncio.run(overwrite(root, name, int(first), int(count)))
        case ["create_all", root, names]:
            asyncio.run(create_all(root, int(names)))
        case ["upload_for_ever", root]:
            asyncio.run(upload_for_ever(root))
        case ["crash_everywhere", root, action]:
            crash_everywhere(root, action)
        case arguments:
            raise SystemExit(f"unknown: {arguments}")

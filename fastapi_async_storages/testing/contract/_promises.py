"""The list of promises, and how one of them is checked."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias
from uuid import uuid4

from fastapi_async_storages.storage import Storage

__all__ = [
    "PROMISES",
    "Check",
    "check_promise",
    "expect",
    "expect_equal",
    "expect_error",
    "promise",
    "read",
]

Check: TypeAlias = Callable[[Storage, str], Awaitable[None]]
"""Checks one promise of a storage; the second argument is a folder that is the check's own."""

PROMISES: dict[str, Check] = {}
"""The checks by the names of their promises, in the order in which they are run."""


def promise(check: Check) -> Check:
    """Add a check to the list. Its docstring is the promise in words."""
    PROMISES[check.__name__] = check
    return check


async def check_promise(storage: Storage, name: str) -> None:
    """Check one promise, in a folder of its own that is emptied afterwards.

    Args:
        storage: Any storage; files that it has already are left alone.
        name: A key of :data:`PROMISES`.

    Raises:
        AssertionError: When the promise is not kept.
        KeyError: When there is no such promise.
    """
    check = PROMISES[name]
    folder = f"storage-contract/{uuid4().hex}"
    try:
        await check(storage, folder)
    except Exception as error:
        error.add_note(f"{storage!r} breaks the promise {name!r}: {check.__doc__}")
        raise
    finally:
        async with storage:  # The check may have closed it.
            await storage.delete_many([info.name async for info in storage.list(folder)])


def expect(condition: bool, expectation: str) -> None:
    """Fail unless a condition holds.

    ``assert`` would vanish under ``python -O``, and shows nothing outside of pytest.

    Raises:
        AssertionError: With the expectation.
    """
    if not condition:
        raise AssertionError(f"Expected: {expectation}")


def expect_equal(actual: object, wanted: object, subject: str) -> None:
    """Fail unless two values are equal.

    Raises:
        AssertionError: With the subject and both values.
    """
    if actual != wanted:
        raise AssertionError(f"{subject} is {_shorten(actual)}, expected {_shorten(wanted)}")


@contextmanager
def expect_error(kind: type[BaseException], action: str) -> Iterator[None]:
    """Fail unless the block raises an error of a kind. Errors of other kinds pass through.

    Raises:
        AssertionError: When nothing is raised.
    """
    try:
        yield
    except kind:
        return
    raise AssertionError(f"Expected {kind.__name__}: {action}")


async def read(storage: Storage, name: str) -> bytes:
    """Read a whole file."""
    async with storage.open(name) as reader:
        return await reader.read()


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}... ({len(text)} characters)"

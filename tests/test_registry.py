from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import pytest

from fastapi_async_storages import MemoryStorage, Storages
from fastapi_async_storages.exceptions import (
    BackendUnavailableError,
    ConfigurationError,
    StorageClosedError,
)

pytestmark = pytest.mark.anyio


class Named(MemoryStorage):
    """Says when it opens and closes, and fails when told to."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.failing: set[str] = set()
        super().__init__()

    def __repr__(self) -> str:
        return self.name

    async def __aenter__(self) -> Self:
        self._note("open")
        return await super().__aenter__()

    async def __aexit__(self, *details: object) -> None:
        await super().__aexit__(None, None, None)
        self._note("close")

    async def _check(self) -> None:
        self._note("check")
        await super()._check()

    def _note(self, action: str) -> None:
        self.log.append(f"{action} {self.name}")
        if action in self.failing:
            raise BackendUnavailableError(f"{action} {self.name}")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def storages(log: list[str]) -> Storages:
    return Storages(Named("a", log), b=Named("b", log), c=Named("c", log))


@contextmanager
def failing(storages: Storages, name: str, action: str) -> Iterator[None]:
    storage = storages[name]
    assert isinstance(storage, Named)
    storage.failing.add(action)
    yield
    storage.failing.clear()


def test_storages_are_found_by_name(storages: Storages) -> None:
    assert storages.default is storages["default"]
    assert repr(storages["b"]) == "b"
    assert list(storages) == ["default", "b", "c"]
    assert len(storages) == 3
    assert "b" in storages
    assert "x" not in storages
    assert None not in storages
    with pytest.raises(ConfigurationError, match="no storage named 'x'; there are: default, b, c"):
        storages["x"]


def test_there_is_one_default(log: list[str]) -> None:
    with pytest.raises(TypeError):
        Storages(Named("a", log), default=Named("b", log))  # type: ignore[misc]


async def test_they_open_in_order_and_close_in_reverse(storages: Storages, log: list[str]) -> None:
    async with storages as opened:
        assert opened is storages
        await storages["b"].upload(b"1", "name")
    assert log == ["open a", "open b", "open c", "close c", "close b", "close a"]
    for name in storages:
        with pytest.raises(StorageClosedError):
            await storages[name].exists("name")
    async with storages:
        assert await storages["b"].exists("name")


async def test_one_that_fails_to_open_closes_the_others(storages: Storages, log: list[str]) -> None:
    with failing(storages, "b", "open"), pytest.raises(BackendUnavailableError, match="open b"):
        await storages.__aenter__()
    assert log == ["open a", "open b", "close a"]


async def test_one_that_fails_to_close_keeps_no_other_open(
    storages: Storages, log: list[str]
) -> None:
    await storages.__aenter__()
    with failing(storages, "b", "close"), pytest.raises(BackendUnavailableError, match="close b"):
        await storages.__aexit__(None, None, None)
    assert log[3:] == ["close c", "close b", "close a"]


async def test_an_error_in_the_block_comes_through(storages: Storages, log: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        async with storages:
            raise ZeroDivisionError
    assert log[3:] == ["close c", "close b", "close a"]


async def test_checking_stops_at_the_first_that_cannot_work(
    storages: Storages, log: list[str]
) -> None:
    async with storages:
        log.clear()
        await storages.check()
        assert log == ["check a", "check b", "check c"]
        log.clear()
        with failing(storages, "b", "check"), pytest.raises(BackendUnavailableError):
            await storages.check()
        assert log == ["check a", "check b"]


async def test_one_storage_under_two_names_closes_once(log: list[str]) -> None:
    storage = Named("a", log)
    async with Storages(storage, again=storage):
        await storage.upload(b"", "name")
    with pytest.raises(StorageClosedError):
        await storage.exists("name")

import asyncio
import gc
import logging
from types import TracebackType
from typing import Self

import pytest

from fastapi_async_storages.clients import LoopClients
from fastapi_async_storages.exceptions import StorageClosedError

pytestmark = pytest.mark.anyio


class Client:
    """A client that takes its time to open and to close, and knows its loop."""

    def __init__(self, log: list[str], fails: bool = False) -> None:
        self.log = log
        self.fails = fails

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        if self.fails:
            self.log.append("failed")
            raise ConnectionRefusedError
        self.log.append("opened")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0)
        self.log.append("closed")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def clients(log: list[str]) -> LoopClients[Client]:
    return LoopClients(lambda: Client(log), "TheStorage")


async def test_the_first_use_opens_one_client_for_all_tasks(
    clients: LoopClients[Client], log: list[str]
) -> None:
    first, *others = await asyncio.gather(*(clients.get() for _ in range(20)))
    assert all(client is first for client in others)
    assert await clients.get() is first
    assert log == ["opened"]
    await clients.close()
    assert log == ["opened", "closed"]


async def test_the_outermost_block_closes(clients: LoopClients[Client], log: list[str]) -> None:
    await clients.enter()
    await clients.enter()
    await clients.exit()
    assert log == ["opened"]
    await clients.exit()
    assert log == ["opened", "closed"]
    with pytest.raises(StorageClosedError, match="TheStorage was closed; open it again") as raised:
        await clients.get()
    assert raised.value.storage == "TheStorage"
    await clients.enter()
    assert log == ["opened", "closed", "opened"]
    await clients.exit()


async def test_closing_twice_and_closing_what_was_never_open(
    clients: LoopClients[Client], log: list[str]
) -> None:
    await clients.close()
    await clients.close()
    assert log == []
    await clients.enter()
    await asyncio.gather(clients.close(), clients.close())
    assert log == ["opened", "closed"]


async def test_a_client_that_is_closing_is_handed_to_nobody(
    clients: LoopClients[Client], log: list[str]
) -> None:
    await clients.get()
    closing = asyncio.ensure_future(clients.close())
    await asyncio.sleep(0)
    results = await asyncio.gather(
        *(clients.get() for _ in range(3)), closing, return_exceptions=True
    )
    assert [type(result) for result in results[:3]] == [StorageClosedError] * 3
    assert log == ["opened", "closed"]


async def test_entering_while_it_closes_opens_a_new_one(
    clients: LoopClients[Client], log: list[str]
) -> None:
    first = await clients.get()
    await asyncio.gather(clients.close(), clients.enter())
    assert await clients.get() is not first or log == ["opened"]
    assert log.count("opened") == log.count("closed") + 1
    await clients.exit()
    assert log.count("opened") == log.count("closed")


async def test_a_failed_opening_may_be_tried_again(log: list[str]) -> None:
    fails = iter([True, True, False])
    clients = LoopClients(lambda: Client(log, next(fails)), "TheStorage")
    with pytest.raises(ConnectionRefusedError):
        await clients.get()
    with pytest.raises(ConnectionRefusedError):
        await clients.enter()
    await clients.get()
    assert log == ["failed", "failed", "opened"]
    await clients.close()


async def test_a_cancelled_opening_leaves_nothing(
    clients: LoopClients[Client], log: list[str]
) -> None:
    for steps in range(4):
        task = asyncio.ensure_future(clients.get())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await clients.enter()
        await clients.exit()
        assert log.count("opened") == log.count("closed")
        await clients.enter()  # So that the next turn does not find it closed.
        await clients.exit()
        clients = LoopClients(lambda: Client(log), "TheStorage")


async def test_a_cancelled_closing_closes(clients: LoopClients[Client], log: list[str]) -> None:
    await clients.get()
    task = asyncio.ensure_future(clients.close())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await clients.close()
    assert log == ["opened", "closed"]


async def test_each_loop_has_its_own_client(clients: LoopClients[Client], log: list[str]) -> None:
    here = await clients.get()

    async def use() -> Client:
        assert await clients.get() is await clients.get()
        return await clients.get()

    there = await asyncio.to_thread(lambda: asyncio.run(use()))
    assert there is not here
    assert await clients.get() is here
    assert log == ["opened", "opened", "closed"]
    await clients.close()
    other = await asyncio.to_thread(lambda: asyncio.run(use()))  # Closed here, not there.
    assert other not in (here, there)


async def test_the_end_of_the_loop_closes_it_quietly(
    log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody closes the storage, as in a script: ``shutdown_asyncgens`` does."""

    async def use() -> None:
        await LoopClients(lambda: Client(log), "TheStorage").get()
        gc.collect()  # The storage is garbage; its client is not.
        assert log == ["opened"]

    with caplog.at_level(logging.DEBUG, "asyncio"):
        await asyncio.to_thread(lambda: asyncio.run(use()))
    assert log == ["opened", "closed"]
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_closed_loops_are_forgotten(clients: LoopClients[Client]) -> None:
    async def use() -> None:
        await clients.get()

    for _ in range(5):
        await asyncio.to_thread(lambda: asyncio.run(use()))
    assert len(clients._states) == 1


class Worker:
    """Does work with a client until it may end, and cleans up when it is ended before."""

    def __init__(self, clients: LoopClients[Client], log: list[str]) -> None:
        self.clients = clients
        self.log = log
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def work(self) -> None:
        async with self.clients.working():
            await self.clients.get()
            self.has_begun.set()
            try:
                await self.may_end.wait()
                self.log.append("done")
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                self.log.append("cleaned up")
                raise


@pytest.fixture
def worker(clients: LoopClients[Client], log: list[str]) -> Worker:
    return Worker(clients, log)


async def start(worker: Worker) -> asyncio.Task[None]:
    task = asyncio.create_task(worker.work())
    await worker.has_begun.wait()
    return task


async def test_closing_ends_work_before_its_client(
    clients: LoopClients[Client], worker: Worker, log: list[str]
) -> None:
    task = await start(worker)
    await clients.close()
    assert log == ["opened", "cleaned up", "closed"]
    with pytest.raises(StorageClosedError, match="TheStorage was closed before the end"):
        await task
    assert task.cancelling() == 0


async def test_work_may_end_before_it_is_ended(
    clients: LoopClients[Client], worker: Worker, log: list[str]
) -> None:
    task = await start(worker)
    draining = asyncio.create_task(clients.drain(60))
    await asyncio.sleep(0)
    assert not draining.done()
    worker.may_end.set()
    await asyncio.wait_for(draining, 10)
    await task
    await clients.close()
    assert log == ["opened", "done", "closed"]


async def test_work_that_takes_too_long_is_ended_and_the_client_stays(
    clients: LoopClients[Client], worker: Worker, log: list[str]
) -> None:
    task = await start(worker)
    await clients.drain(0.01)
    with pytest.raises(StorageClosedError):
        await task
    assert log == ["opened", "cleaned up"]
    await clients.get()
    await clients.close()


async def test_draining_waits_for_work_that_is_begun_meanwhile(
    clients: LoopClients[Client], worker: Worker, log: list[str]
) -> None:
    first = await start(worker)
    draining = asyncio.create_task(clients.drain(60))
    await asyncio.sleep(0)
    other = Worker(clients, log)
    second = asyncio.create_task(other.work())
    await asyncio.sleep(0)
    worker.may_end.set()
    await first
    assert not draining.done()
    other.may_end.set()
    await asyncio.wait_for(draining, 10)
    await second
    await clients.close()


async def test_a_timeout_of_the_work_itself_is_its_own(clients: LoopClients[Client]) -> None:
    with pytest.raises(TimeoutError, match="own"):
        async with clients.working():
            raise TimeoutError("own")
    await clients.close()


async def test_who_closes_within_its_own_work_does_not_wait_for_itself(
    clients: LoopClients[Client], log: list[str]
) -> None:
    async with clients.working():
        await clients.get()
        await clients.close()
    assert log == ["opened", "closed"]


async def test_closing_that_is_cancelled_still_ends_the_work(
    clients: LoopClients[Client], worker: Worker, log: list[str]
) -> None:
    task = await start(worker)
    closing = asyncio.create_task(clients.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing, task])
    assert "cleaned up" in log
    assert isinstance(task.exception(), StorageClosedError)
    await clients.close()

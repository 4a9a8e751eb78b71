import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress

import anyio
import pytest

from fastapi_async_storages.completion import complete, run_in_thread, run_together

pytestmark = pytest.mark.anyio

LIMIT = 10  # Seconds, for what takes none.


class Worker:
    """A blocking function that says when it started, and ends when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started, self.may_end, self.ended = (threading.Event() for _ in range(3))
        self.error = error

    def __call__(self) -> str:
        self.started.set()
        assert self.may_end.wait(LIMIT)
        self.ended.set()
        if self.error:
            raise self.error
        return "result"

    async def wait_until_started(self) -> None:
        assert await asyncio.to_thread(self.started.wait, LIMIT)


async def test_a_result_comes_back() -> None:
    assert await complete(asyncio.sleep(0, "result")) == "result"
    assert await run_in_thread(sorted, [1, 2], reverse=True) == [2, 1]


async def test_an_error_comes_back() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await complete(fail())
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 // 0)


async def test_the_context_goes_along() -> None:
    variable = contextvars.ContextVar[str]("variable")
    variable.set("value")
    assert await run_in_thread(variable.get) == "value"
    assert await run_in_thread(threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancelled_task_waits_for_the_end(error: Exception | None, times: int) -> None:
    worker = Worker(error)
    task = asyncio.ensure_future(run_in_thread(worker))
    await worker.wait_until_started()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    worker.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker.ended.is_set()


async def test_a_cancelled_scope_waits_without_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cancellation of anyio is repeated in each pass of the loop until it is heard."""
    worker = Worker()
    loop = asyncio.get_running_loop()
    passes = 0
    get_time = loop.time

    def count_passes() -> float:  # Each pass looks at the clock.
        nonlocal passes
        passes += 1
        return get_time()

    async def cancel_and_end(scope: anyio.CancelScope) -> None:
        await worker.wait_until_started()
        scope.cancel()
        monkeypatch.setattr(loop, "time", count_passes)
        loop.call_later(0.1, worker.may_end.set)

    with anyio.CancelScope() as scope:
        ending = asyncio.ensure_future(cancel_and_end(scope))
        assert await run_in_thread(worker) == "result"
        await asyncio.sleep(0)
    await ending
    assert scope.cancelled_caught
    assert 0 < passes < 100


async def test_a_timeout_still_says_that_it_was_one() -> None:
    worker = Worker()
    asyncio.get_running_loop().call_later(0.05, worker.may_end.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_in_thread(worker)
    assert worker.ended.is_set()


async def test_a_clean_up_ends_although_its_task_is_cancelled_again() -> None:
    cleaned, entered = asyncio.Event(), asyncio.Event()

    async def clean_up() -> None:
        entered.set()
        for _ in range(10):
            await asyncio.sleep(0.001)
        cleaned.set()

    async def work() -> None:
        try:
            await asyncio.sleep(LIMIT)
        finally:
            await complete(clean_up())

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()


async def test_together_all_have_ended_when_one_fails() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(LIMIT)
        finally:
            await complete(asyncio.sleep(0))
            ended.append("wait")

    async def fail() -> None:
        await asyncio.sleep(0)
        ended.append("fail")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_together([wait(), fail(), wait()])
    assert ended == ["fail", "wait", "wait"]
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_together_nothing_is_done_at_once() -> None:
    await run_together([])


@pytest.mark.parametrize("passes", range(6))
async def test_together_a_cancelled_scope_is_left_although_one_fails(passes: int) -> None:
    """The cancellation of anyio is known by its message, which a new one would not have."""
    failing = asyncio.Event()

    async def fail() -> None:
        await failing.wait()
        raise ZeroDivisionError

    async def cancel(scope: anyio.CancelScope) -> None:
        failing.set()
        for _ in range(passes):
            await asyncio.sleep(0)
        scope.cancel()

    with anyio.CancelScope() as scope:
        cancelling = asyncio.ensure_future(cancel(scope))
        with suppress(ZeroDivisionError):
            await run_together([fail(), fail()])
        await asyncio.sleep(LIMIT)
    await cancelling
    assert scope.cancelled_caught


def end_early(worker: Worker) -> None:
    """Run a loop that ends while a task waits for a thread: it cancels all tasks that are left."""
    events = []

    async def work() -> None:
        try:
            await run_in_thread(worker)
        finally:
            events.append(worker.ended.is_set())

    async def main() -> None:
        task = asyncio.ensure_future(work())
        await worker.wait_until_started()
        asyncio.get_running_loop().call_later(0.05, worker.may_end.set)
        assert not task.done()

    asyncio.run(main())
    assert events == [True]


async def test_the_end_of_the_loop_waits_too() -> None:
    await asyncio.to_thread(end_early, Worker())


async def test_sync_endpoints_that_wait_for_a_thread_do_not_starve_it() -> None:
    """FastAPI runs sync endpoints in anyio's threads, and those may call back into the loop."""

    def endpoint() -> int:
        return anyio.from_thread.run(run_in_thread, lambda: 1)

    limiter = anyio.to_thread.current_default_thread_limiter()
    endpoints: list[Callable[[], int]] = [endpoint] * int(limiter.total_tokens)
    with anyio.fail_after(LIMIT):
        results = await asyncio.gather(*map(anyio.to_thread.run_sync, endpoints))
    assert set(results) == {1}

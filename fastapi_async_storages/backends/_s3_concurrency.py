"""Many requests at a time, but never more than so many."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

__all__ = ["Job", "run_bounded"]

Job: TypeAlias = Callable[[], Awaitable[None]]


async def run_bounded(jobs: AsyncGenerator[Job, None], limit: int) -> None:
    """Run jobs as they come; the next one is asked for only when there is room for it.

    The jobs are callables, not coroutines: a task that is cancelled before its first step never
    calls them, and a coroutine would then be left behind without having been awaited.

    Args:
        jobs: Makes the jobs, and is closed at the end.
        limit: How many run at a time.

    Raises:
        BaseException: The first error of a job or of ``jobs``, after all other jobs have ended.
        asyncio.CancelledError: When the current task was cancelled meanwhile, whatever failed.
    """
    room = asyncio.Semaphore(limit)
    current = asyncio.current_task()
    assert current is not None  # noqa: S101 - a coroutine has one
    cancelled_before = current.cancelling()
    cancellation: asyncio.CancelledError | None = None

    async def run(job: Job) -> None:
        await job()
        room.release()  # Not after a failure, when nothing is to follow.

    try:
        async with aclosing(jobs), asyncio.TaskGroup() as group:
            try:
                await room.acquire()
                async for job in jobs:
                    group.create_task(run(job))
                    del job  # It holds a part of the file, which should be freed when it is sent.
                    await room.acquire()
                # The group would wait for the last ones too. But before Python 3.13 it leaves the
                # task `cancelling()` when one of them fails then, and whoever looks at that, as
                # asyncio.timeout() does, takes the task for one that somebody else has cancelled.
                for _ in range(limit - 1):
                    await room.acquire()
            except asyncio.CancelledError as error:
                cancellation = error
                raise
    except BaseExceptionGroup as errors:
        if cancellation is not None and current.cancelling() > cancelled_before:
            raise cancellation from None  # Somebody else's, which no failure may swallow.
        raise errors.exceptions[0] from None

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
    """
    room = asyncio.Semaphore(limit)

    async def run(job: Job) -> None:
        try:
            await job()
        finally:
            room.release()

    try:
        async with aclosing(jobs), asyncio.TaskGroup() as group:
            await room.acquire()
            async for job in jobs:
                group.create_task(run(job))
                del job  # It holds a part of the file, which should be freed as soon as it is sent.
                await room.acquire()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None

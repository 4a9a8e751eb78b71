"""Work that must come to its end even when the task that awaits it is cancelled.

A thread cannot be cancelled: a task that stopped waiting for one would close or delete files that
the thread still works on. And a clean-up that is itself cancelled half-way leaves what it should
have removed. Both are awaited to their end here, and the cancellation is raised after it.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

import anyio

__all__ = ["complete", "run_in_thread", "run_together", "wait_for_cancelled_tasks"]

P = ParamSpec("P")
T = TypeVar("T")


async def complete(work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine to its end, whatever happens to the current task.

    Args:
        work: The coroutine; it runs in a task of its own.

    Returns:
        What the coroutine returned.

    Raises:
        asyncio.CancelledError: After the end of the work, when the current task was cancelled
            meanwhile. The result is lost then: work that opens something must keep it where the
            caller's clean-up finds it.
    """
    return await _wait_for(asyncio.ensure_future(work))


async def run_in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a worker thread, and wait for it even when cancelled.

    The thread is one of the loop's default executor, not of anyio's: those are the ones that sync
    endpoints run in, and when all of them waited for a storage, none would be left for its files.

    Args:
        function: The blocking function.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        What the function returned; see :func:`complete` for what a cancellation does to it.
    """
    call = partial(copy_context().run, function, *args, **kwargs)
    # No task stands between: at its end a loop cancels all tasks, also those that wait for threads.
    return await _wait_for(asyncio.get_running_loop().run_in_executor(None, call))


async def run_together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines side by side, each in a task of its own, until all of them have ended.

    Not by ``asyncio.TaskGroup``: before Python 3.13 an error of one of its tasks takes the place of
    a cancellation of the current task, which goes on then when it handles that error. And a task
    that was not cancelled looks as if it were (``cancelling()``), so that a timeout around it no
    longer knows its own cancellation.

    Args:
        works: The coroutines. When one fails, the others are cancelled.

    Raises:
        BaseException: The first error of one.
        asyncio.CancelledError: When the current task was cancelled meanwhile, whatever failed.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        # Marks their errors as seen, too.
        await _wait_for(asyncio.gather(*tasks, return_exceptions=True))
    for task in done:
        task.result()


async def wait_for_cancelled_tasks(seconds: float, *, but: Collection[object] = ()) -> None:
    """Wait for the other tasks of the loop that were cancelled and have not ended yet.

    Call it before closing what their clean-ups need.

    Args:
        seconds: How long to wait at most: a task may ignore its cancellation.
        but: Tasks that are not waited for.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    cancelled = [task for task in others if task.cancelling() and task not in but]
    if cancelled:
        await asyncio.wait(cancelled, timeout=seconds)


async def _wait_for(work: asyncio.Future[T]) -> T:
    cancellation: asyncio.CancelledError | None = None
    # anyio (and so Starlette) repeats a cancellation in every pass of the loop until the task ends;
    # without the shield, waiting would spin.
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait((work,))
            except asyncio.CancelledError as error:
                cancellation = error
    if cancellation is None:
        return work.result()
    if not work.cancelled():
        work.exception()  # Marks it as seen: the cancellation is what the caller must hear of.
    raise cancellation

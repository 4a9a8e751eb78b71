"""Cancel a coroutine at the place where it waits for the n-th time."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from itertools import count
from typing import Any

__all__ = ["cancel_at"]


class _CancelledAt:
    """Awaits a coroutine, and cancels the task when the coroutine waits for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], step: int) -> None:
        self._coroutine = coroutine
        self._step = step

    def __await__(self) -> Generator[Any, Any, bool]:
        steps = self._coroutine.__await__()
        resume: Callable[[], Any] = partial(steps.send, None)
        for number in count():
            try:
                awaited = resume()
            except StopIteration:
                return True
            if number == self._step:
                # From inside the task, so that the very thing that it waits for now is cancelled.
                task = asyncio.current_task()
                if task is not None:
                    task.cancel()
            try:
                yield awaited
                resume = partial(steps.send, None)
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                resume = partial(steps.throw, error)
        raise AssertionError


async def _await(coroutine: Coroutine[Any, Any, object], step: int) -> bool:
    return await _CancelledAt(coroutine, step)


async def cancel_at(step: int, coroutine: Coroutine[Any, Any, object]) -> bool:
    """Run a coroutine, cancelled when it waits for the n-th time.

    Args:
        step: Which time, from 0.
        coroutine: What to run.

    Returns:
        Whether it came to its end because it waits less often.

    Raises:
        Exception: What the coroutine raised instead of ``CancelledError``.
    """
    task = asyncio.ensure_future(_await(coroutine, step))
    try:
        return await task
    except asyncio.CancelledError:
        if not task.cancelled():  # It was the caller who was cancelled.
            raise
        return False

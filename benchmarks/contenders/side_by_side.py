"""Many operations of one kind, some of them at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def run_side_by_side(
    operation: Callable[[int], Awaitable[object]], count: int, in_flight: int
) -> float:
    """Run an operation for each number below ``count``, and return the seconds that it took."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await operation(number)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(work())
    return time.perf_counter() - started

"""Requests side by side, of which one fails while their task is cancelled."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from fastapi_async_storages.backends._s3_concurrency import Job, run_bounded

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("is_last", [True, False])
async def test_a_cancellation_outlives_a_failure(limit: int, *, is_last: bool) -> None:
    async def fail() -> None:
        task.cancel()
        raise ZeroDivisionError

    async def jobs() -> AsyncGenerator[Job, None]:
        yield fail
        if not is_last:
            await asyncio.Event().wait()

    task = asyncio.create_task(run_bounded(jobs(), limit))
    with pytest.raises(asyncio.CancelledError):
        await task

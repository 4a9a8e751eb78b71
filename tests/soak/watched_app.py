"""The example app, with a window into its process: ``uvicorn tests.soak.watched_app:app``."""

import asyncio
import gc
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from example_app.main import app
from fastapi_async_storages import StorageDep

__all__ = ["State", "app"]


@dataclass(frozen=True)
class State:
    """What must not grow.

    Attributes:
        memory: Resident memory in bytes.
        objects: Objects that the garbage collector knows, after it has run.
        descriptors: Open file descriptors.
        threads: Running threads.
        tasks: Tasks of the event loop.
        connections: Connections in the pools of S3 clients, in use or kept.
        files: Files in the storage.
    """

    memory: int
    objects: int
    descriptors: int
    threads: int
    tasks: int
    connections: int
    files: int


@app.get("/soak/state", include_in_schema=False)
async def show_state(storage: StorageDep) -> dict[str, int]:
    files = len([info async for info in storage.list()])
    gc.collect()
    objects = gc.get_objects()
    pools = [value for value in objects if isinstance(value, aiohttp.BaseConnector)]
    state = State(
        memory=int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        objects=len(objects),
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        threads=threading.active_count(),
        tasks=len(asyncio.all_tasks()),
        connections=sum(
            sum(map(len, pool._conns.values())) + len(pool._acquired) for pool in pools
        ),
        files=files,
    )
    return asdict(state)

"""Files on this machine: our router, Starlette's FileResponse, and nginx with sendfile."""

from collections.abc import Awaitable, Callable, Sequence

from benchmarks.case import KIB, MIB, Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import Request, run_load
from benchmarks.servers import S3Server, Target
from fastapi_async_storages import LocalStorage

CONTENDERS = ["nginx", "local", "starlette"]


def make_prepare(
    size: int,
) -> Callable[[Sequence[Target], S3Server | None, Scale], Awaitable[None]]:
    async def prepare(targets: Sequence[Target], s3: S3Server | None, scale: Scale) -> None:
        async with LocalStorage(targets[0].directory) as storage:
            await storage.upload(bytes(size), "file.bin")

    return prepare


async def measure_large(target: Target, scale: Scale) -> Values:
    request = Request("GET", "/files/file.bin")
    seconds = pick(scale, smoke=0.0, quick=0.7, full=4.0)
    async with measuring(target) as values:
        load = await run_load(target.port, lambda _: request, clients=1, seconds=seconds)
    return {"speed": load.size / load.seconds, **values}


async def measure_small(target: Target, scale: Scale) -> Values:
    request = Request("GET", "/files/file.bin")
    seconds = pick(scale, smoke=0.0, quick=0.7, full=4.0)
    async with measuring(target) as values:
        load = await run_load(target.port, lambda _: request, clients=32, seconds=seconds)
    return {"rate": load.rate, "p99": load.percentile(0.99), **values}


CASES = [
    Case(
        "local-64-mib",
        "A local file of 64 MiB, one reader",
        [*CONTENDERS, "starlette-1-mib"],
        measure_large,
        [
            Column("speed", "MiB/s", 1 / MIB),
            Column("rss", "RSS over idle MiB", 1 / MIB, 1),
            Column("lag_max", "lag max ms", 1e3, 1),
        ],
        s3=None,
        prepare=make_prepare(64 * MIB),
        goals=[Goal("local", "speed", False, 0.9, "nginx")],
    ),
    Case(
        "local-16-kib",
        "A local file of 16 KiB, 32 readers",
        CONTENDERS,
        measure_small,
        [Column("rate", "req/s"), Column("p99", "p99 ms", 1e3, 1)],
        s3=None,
        prepare=make_prepare(16 * KIB),
        note="nginx runs no Python for it. An app that decides who may read its files can have"
        " nginx send them: `offload=XAccelRedirect(...)`.",
    ),
]

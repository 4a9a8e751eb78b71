"""Files that pass through the app: one reader, fifty of them, and a range out of the middle."""

from collections.abc import Sequence

from benchmarks.case import MIB, Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import Request, fetch_json, run_load
from benchmarks.servers import S3Server, Target

READERS = 50
EVERYONE = (
    "raw-aiobotocore",
    "aiobotocore",
    "raw-obstore",
    "obstore",
    "advanced-alchemy",
    "sqlalchemy-file",
    "older",
)
CLOSE = ("connection", "close")


async def prepare(targets: Sequence[Target], s3: S3Server | None, scale: Scale) -> None:
    if s3 is None:
        raise ValueError("Downloads need an S3 server.")
    async with s3.open_storage() as storage:
        for size in {get_size(scale), get_large_size(scale)}:
            await storage.upload(bytes(size), f"{size}.bin")


def get_size(scale: Scale) -> int:
    return pick(scale, smoke=MIB, quick=64 * MIB, full=64 * MIB)


def get_large_size(scale: Scale) -> int:
    return pick(scale, smoke=3 * MIB, quick=256 * MIB, full=256 * MIB)


async def read(target: Target, request: Request, clients: int) -> Values:
    if target.s3 is None:
        raise ValueError("Downloads need an S3 server.")
    await fetch_json(target.s3.port, "GET", "/_stats")
    async with measuring(target) as values:
        load = await run_load(target.port, lambda _: request, clients=clients, seconds=0)
    seen = await fetch_json(target.s3.port, "GET", "/_stats")
    return {
        "speed": load.size / values["seconds"],
        "rss_each": values["rss"] / clients,
        "s3_requests": seen["requests"],
        "s3_bytes": seen["sent"],
        "received": load.size,
        **values,
    }


async def measure_one(target: Target, scale: Scale) -> Values:
    return await read(target, Request("GET", f"/files/{get_size(scale)}.bin", [CLOSE]), 1)


async def measure_fifty(target: Target, scale: Scale) -> Values:
    size = get_size(scale)
    readers = pick(scale, smoke=3, quick=READERS, full=READERS)
    return await read(target, Request("GET", f"/files/{size}.bin", [CLOSE]), readers)


async def measure_range(target: Target, scale: Scale) -> Values:
    size = get_large_size(scale)
    middle = f"bytes={size // 2}-{size // 2 + MIB - 1}"
    request = Request("GET", f"/files/{size}.bin", [("range", middle), CLOSE])
    return await read(target, request, 1)


SPEED = [
    Column("speed", "MiB/s", 1 / MIB),
    Column("cpu", "CPU s", digits=2),
    Column("rss", "RSS over idle MiB", 1 / MIB, 1),
    Column("rss_each", "RSS a reader MiB", 1 / MIB, 2),
    Column("lag_max", "lag max ms", 1e3, 1),
]
AS_FAST_AS_RAW = [
    Goal("aiobotocore", "speed", False, 0.95, "raw-aiobotocore"),
    Goal("obstore", "speed", False, 0.95, "raw-obstore"),
]

CASES = [
    Case(
        "download",
        "Download of 64 MiB through the app, from the null S3",
        EVERYONE,
        measure_one,
        SPEED,
        s3="null",
        prepare=prepare,
        goals=AS_FAST_AS_RAW,
    ),
    Case(
        "fifty-downloads",
        "50 readers of 64 MiB through the app, from the null S3",
        EVERYONE[:4],
        measure_fifty,
        SPEED,
        s3="null",
        prepare=prepare,
        scales=("smoke", "full"),
        goals=[
            *AS_FAST_AS_RAW,
            Goal("aiobotocore", "rss_each", True, 2 * MIB),
            Goal("obstore", "rss_each", True, 2 * MIB),
        ],
        note="Those that hold a whole file for each reader would need 3.2 GiB, and are left out.",
    ),
    Case(
        "range",
        "1 MiB out of the middle of 256 MiB through the app, from the null S3",
        EVERYONE,
        measure_range,
        [
            Column("seconds", "wall ms", 1e3, 1),
            Column("received", "received MiB", 1 / MIB, 1),
            Column("s3_requests", "S3 requests"),
            Column("s3_bytes", "read from S3 MiB", 1 / MIB, 1),
            Column("rss", "RSS over idle MiB", 1 / MIB, 1),
        ],
        s3="null",
        prepare=prepare,
        goals=[
            Goal("aiobotocore", "s3_requests", True, 1),
            Goal("obstore", "s3_requests", True, 1),
            Goal("aiobotocore", "s3_bytes", True, MIB),
            Goal("obstore", "s3_bytes", True, MIB),
        ],
        note="The libraries answer 200 with the whole file.",
    ),
]

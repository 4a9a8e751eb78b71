"""Large files in forms: one at a time, and ten at once."""

from collections.abc import Sequence

from benchmarks.case import MIB, Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import run_load
from benchmarks.forms import make_upload
from benchmarks.servers import S3Kind, Target

# Ours, and the floor, read the form while it arrives.
STREAMING = ("aiobotocore", "obstore", "raw-aiobotocore", "raw-obstore")

COLUMNS = [
    Column("seconds", "wall s", digits=2),
    Column("cpu", "CPU s", digits=2),
    Column("rss", "RSS over idle MiB", 1 / MIB),
    Column("written", "temporary MiB", 1 / MIB),
    Column("lag_max", "lag max ms", 1e3, 1),
    Column("lag_p99", "lag p99 ms", 1e3, 1),
]


async def upload(target: Target, *, size: int, clients: int) -> Values:
    path = "/stream" if target.name in STREAMING else "/upload"
    request = make_upload(path, size)
    async with measuring(target) as values:
        await run_load(target.port, lambda _: request, clients=clients, seconds=0)
    return values


async def measure_one(target: Target, scale: Scale) -> Values:
    quick = 256 * MIB if target.s3 is None or target.s3.is_null else 64 * MIB
    return await upload(
        target, size=pick(scale, smoke=9 * MIB, quick=quick, full=256 * MIB), clients=1
    )


async def measure_ten(target: Target, scale: Scale) -> Values:
    size = pick(scale, smoke=MIB, quick=16 * MIB, full=64 * MIB)
    values = await upload(target, size=size, clients=10)
    return {"speed": 10 * size / values["seconds"], "rss_each": values["rss"] / 10, **values}


def make_case(s3: S3Kind, title: str, factor: float, others: Sequence[str]) -> Case:
    return Case(
        f"large-upload-{s3}",
        title,
        ["raw-aiobotocore", "aiobotocore", "raw-obstore", "obstore", *others],
        measure_one,
        COLUMNS,
        s3=s3,
        goals=[
            Goal("aiobotocore", "seconds", True, 1.05, "raw-aiobotocore"),
            Goal("obstore", "seconds", True, 1.05, "raw-obstore"),
            Goal("aiobotocore", "seconds", True, factor, "older"),
            Goal("aiobotocore", "cpu", True, 1.25, "raw-aiobotocore"),
            Goal("obstore", "cpu", True, 1.25, "raw-obstore"),
            Goal("aiobotocore", "rss", True, 64 * MIB),
            Goal("obstore", "rss", True, 40 * MIB),
            Goal("aiobotocore", "written", True, 0),
            Goal("obstore", "written", True, 0),
            Goal("aiobotocore", "lag_max", True, 0.025),
            Goal("obstore", "lag_max", True, 0.006),
        ],
        note="Ours is `StreamedUpload`, with SHA-256 and the type by content; `raw` is the floor"
        " here: the form parsed as it arrives, parts of 8 MiB, 4 in flight, no checks. The other"
        " libraries get the file when Starlette has written all of it to a temporary one.",
    )


CASES = [
    make_case(
        "null",
        "One form upload of 256 MiB to the null S3",
        0.6,
        ["advanced-alchemy", "fastapi-storages", "sqlalchemy-file", "older"],
    ),
    make_case(
        "seaweedfs",
        "One large form upload to SeaweedFS (256 MiB; 64 MiB in the quick form)",
        0.8,
        ["advanced-alchemy", "fastapi-storages", "sqlalchemy-file", "older"],
    ),
    Case(
        "ten-uploads",
        "Ten form uploads at once to the null S3 (64 MiB each; 16 MiB in the quick form)",
        ["raw-aiobotocore", "aiobotocore", "raw-obstore", "obstore", "older"],
        measure_ten,
        [
            Column("speed", "MiB/s", 1 / MIB),
            Column("rss", "RSS over idle MiB", 1 / MIB),
            Column("rss_each", "RSS each MiB", 1 / MIB, 1),
            Column("cpu", "CPU s", digits=2),
            Column("lag_max", "lag max ms", 1e3, 1),
        ],
        s3="null",
        scales=("smoke", "full"),
    ),
]

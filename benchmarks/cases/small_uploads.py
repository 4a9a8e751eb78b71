"""Many small files: forms of 16 KiB from 32 clients at a time."""

from benchmarks.case import KIB, Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import run_load
from benchmarks.forms import make_upload
from benchmarks.servers import Target

CLIENTS = 32
SIZE = 16 * KIB


async def measure(target: Target, scale: Scale) -> Values:
    request = make_upload("/upload", SIZE)
    seconds = pick(scale, smoke=0.0, quick=1.0, full=5.0)
    async with measuring(target) as values:
        load = await run_load(target.port, lambda _: request, clients=CLIENTS, seconds=seconds)
    return {
        "rate": load.rate,
        "p50": load.percentile(0.5),
        "p99": load.percentile(0.99),
        "cpu_each": values["cpu"] / len(load.latencies),
        "lag_max": values["lag_max"],
    }


CASES = [
    Case(
        "small-uploads",
        "Form uploads of 16 KiB from 32 clients",
        [
            "raw-aiobotocore",
            "aiobotocore",
            "obstore",
            "obstore-frozen",
            "raw-obstore",
            "advanced-alchemy",
            "fastapi-storages",
            "sqlalchemy-file",
            "older",
        ],
        measure,
        [
            Column("rate", "req/s"),
            Column("p50", "p50 ms", 1e3, 1),
            Column("p99", "p99 ms", 1e3, 1),
            Column("cpu_each", "CPU ms each", 1e3, 2),
            Column("lag_max", "lag max ms", 1e3),
        ],
        goals=[
            Goal("aiobotocore", "rate", False, 0.95, "raw-aiobotocore"),
            Goal("obstore", "rate", False, 1.25, "advanced-alchemy"),
        ],
        note="Ours takes an `UploadFile` to `save_upload`: the type by content, a SHA-256, a unique"
        " name, and a write that replaces nothing. The others as their READMEs say, without rows."
        " With `gc.freeze()` after the start, the garbage collector skips all that was loaded"
        " until then; any app can do that.",
    )
]

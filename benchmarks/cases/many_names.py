"""Many files: `list`, `sweep` and `delete_many`."""

from benchmarks.case import MIB, Case, Column, Scale, Values, measuring, pick
from benchmarks.client import fetch_json
from benchmarks.servers import Target


async def measure(target: Target, scale: Scale) -> Values:
    large = pick(scale, smoke=200, quick=5_000, full=100_000)
    small = pick(scale, smoke=100, quick=1_000, full=10_000)
    count = large if target.name in ("local", "memory") else small
    async with measuring(target) as values:
        rates: Values = await fetch_json(target.port, "POST", f"/names?count={count}")
    return {**rates, **values}


CASES = [
    Case(
        "many-names",
        "Many names: 100,000 (local and memory) and 10,000 (S3); a tenth or less in the quick form",
        ["memory", "local", "aiobotocore", "obstore"],
        measure,
        [
            Column("list", "list names/s"),
            Column("sweep", "sweep names/s"),
            Column("delete_many", "delete_many names/s"),
            Column("upload", "upload files/s"),
            Column("rss", "RSS over idle MiB", 1 / MIB),
        ],
        scales=("smoke", "full"),
        note="The RSS is of all of it together, with the list of names that `delete_many` gets.",
    )
]

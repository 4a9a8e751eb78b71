"""Rows with a file each, in one commit: all files are stored when it returns."""

from benchmarks.case import KIB, Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import fetch_json
from benchmarks.servers import Target

SIZE = 16 * KIB
SLOW = ("fastapi-storages", "sqlalchemy-file", "older")


async def measure(target: Target, scale: Scale) -> Values:
    count = pick(scale, smoke=5, quick=200, full=200)
    if target.name in SLOW and scale == "quick":
        count = 40  # They take 2 to 12 seconds for 200.
    async with measuring(target) as values:
        answer = await fetch_json(target.port, "POST", f"/rows?count={count}&size={SIZE}")
    return {"rate": count / answer["seconds"], "cpu_each": values["cpu"] / count, **values}


CASES = [
    Case(
        "rows",
        "200 rows with a file of 16 KiB each in one commit",
        [
            "raw-aiobotocore",
            "aiobotocore",
            "raw-obstore",
            "obstore",
            "advanced-alchemy",
            "sqlalchemy-file",
            "fastapi-storages",
            "older",
        ],
        measure,
        [
            Column("rate", "files/s"),
            Column("cpu_each", "CPU ms each", 1e3, 2),
            Column("lag_max", "lag max ms", 1e3),
        ],
        goals=[
            Goal("aiobotocore", "rate", False, 0.9, "raw-aiobotocore"),
            Goal("obstore", "rate", False, 0.9, "raw-obstore"),
        ],
        note="SQLite in memory. The raw ones store the files, 16 at a time, and have no rows."
        " advanced-alchemy stores them after the commit; its time ends when all are stored.",
    )
]

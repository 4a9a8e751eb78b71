"""Small objects without an app in front: what one operation costs, 32 in flight."""

import os
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.case import KIB, Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import fetch_json
from benchmarks.servers import S3Server, Target

SIZE = 16 * KIB
IN_FLIGHT = 32


async def prepare(targets: Sequence[Target], s3: S3Server | None, scale: Scale) -> None:
    if s3 is None:
        raise ValueError("The operations need an S3 server.")
    content = os.urandom(SIZE)
    async with s3.open_storage() as storage:
        for number in range(get_count(scale)):
            await storage.upload(content, f"objects/{number}")


def get_count(scale: Scale) -> int:
    return pick(scale, smoke=32, quick=500, full=3000)


def make_measure(verb: str) -> Callable[[Target, Scale], Awaitable[Values]]:
    async def measure(target: Target, scale: Scale) -> Values:
        count = get_count(scale)
        query = f"count={count}&size={SIZE}&in_flight={IN_FLIGHT}"
        async with measuring(target) as values:
            answer = await fetch_json(target.port, "POST", f"/operations/{verb}?{query}")
        return {"rate": count / answer["seconds"], "cpu_each": values["cpu"] / count}

    return measure


def make_case(verb: str, contenders: list[str]) -> Case:
    goals = [
        Goal("aiobotocore", "cpu_each", True, 1.1, "raw-aiobotocore"),
        Goal("obstore", "cpu_each", True, 1.1, "raw-obstore"),
    ]
    if verb == "upload":
        goals += [Goal(goal.contender, "rate", False, 1 / 1.1, goal.against) for goal in goals]
    return Case(
        f"operation-{verb.replace('_', '-')}",
        f"`{verb}` of 16 KiB, 32 in flight, no HTTP server in front",
        contenders,
        make_measure(verb),
        [Column("cpu_each", "CPU us each", 1e6), Column("rate", "op/s")],
        prepare=prepare,
        goals=goals,
        scales=("smoke", "quick", "full") if verb == "upload" else ("smoke", "full"),
    )


RAW = ["raw-aiobotocore", "aiobotocore", "raw-obstore", "obstore"]

CASES = [
    make_case("upload", [*RAW, "advanced-alchemy"]),
    make_case("read", [*RAW, "advanced-alchemy"]),
    make_case("get_info", RAW),
]

"""Small objects without an app in front: what one operation costs, 32 in flight."""

from collections.abc import Awaitable, Callable

from benchmarks.case import KIB, Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import fetch_json
from benchmarks.servers import Target

SIZE = 16 * KIB
IN_FLIGHT = 32


def make_measure(verb: str) -> Callable[[Target, Scale], Awaitable[Values]]:
    async def measure(target: Target, scale: Scale) -> Values:
        count = pick(scale, smoke=32, quick=500, full=3000)
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
        goals=goals,
    )


RAW = ["raw-aiobotocore", "aiobotocore", "raw-obstore", "obstore"]

# In this order: what is read was uploaded before.
CASES = [
    make_case("upload", [*RAW, "advanced-alchemy"]),
    make_case("read", [*RAW, "advanced-alchemy"]),
    make_case("get_info", RAW),
]

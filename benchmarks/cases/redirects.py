"""Redirects to presigned URLs: each one signed anew, and by the files router."""

from collections.abc import Sequence
from functools import partial

from benchmarks.case import Case, Column, Goal, Scale, Values, measuring, pick
from benchmarks.client import Request, run_load
from benchmarks.servers import S3Server, Target

CLIENTS = 32
NAMES = 100


async def prepare(targets: Sequence[Target], s3: S3Server | None, scale: Scale) -> None:
    if s3 is None:
        raise ValueError("Presigned URLs need an S3 server.")
    async with s3.open_storage() as storage:
        for number in range(NAMES):
            await storage.upload(b"x", f"redirects/{number}.bin")


async def redirect(target: Target, prefix: str, scale: Scale) -> Values:
    seconds = pick(scale, smoke=0.0, quick=0.7, full=4.0)
    requests = [Request("GET", f"{prefix}/redirects/{number}.bin") for number in range(NAMES)]
    ask = partial(run_load, target.port, lambda number: requests[number % NAMES], clients=CLIENTS)
    await ask(seconds=seconds / 4)  # What the first requests find out is not what is compared.
    async with measuring(target) as values:
        load = await ask(seconds=seconds)
    return {
        "rate": load.rate,
        "p99": load.percentile(0.99),
        "cpu_each": values["cpu"] / len(load.latencies),
    }


async def measure_signing(target: Target, scale: Scale) -> Values:
    return await redirect(target, "/sign", scale)


async def measure_router(target: Target, scale: Scale) -> Values:
    return await redirect(target, "/redirect", scale)


COLUMNS = [
    Column("rate", "req/s"),
    Column("p99", "p99 ms", 1e3, 1),
    Column("cpu_each", "CPU us each", 1e6),
]

CASES = [
    Case(
        "presigning",
        "Redirects to URLs that are presigned anew each time, 32 clients",
        [
            "raw-aiobotocore",
            "aiobotocore",
            "obstore",
            "raw-obstore",
            "advanced-alchemy",
            "fastapi-storages",
            "older",
        ],
        measure_signing,
        COLUMNS,
        s3="null",
        goals=[
            Goal("aiobotocore", "rate", False, 2, "raw-aiobotocore"),
            Goal("obstore", "rate", False, 2, "raw-aiobotocore"),
        ],
        note="An endpoint that returns `RedirectResponse(await storage.get_path(name))`.",
    ),
    Case(
        "redirects",
        "Redirects of the files router, which uses URLs again, 32 clients",
        ["starlette", "aiobotocore", "obstore"],
        measure_router,
        COLUMNS,
        s3="null",
        prepare=prepare,
        goals=[
            Goal("aiobotocore", "rate", False, 0.9, "starlette"),
            Goal("obstore", "rate", False, 0.9, "starlette"),
        ],
        note="Starlette's redirect is always to the same place, from an endpoint that does nothing"
        " else. The router also checks the name and the access rule, and has looked whether there"
        " is such a file.",
    ),
]

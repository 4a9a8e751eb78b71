"""Cost against size: files of 1 KiB to 1 GiB, up and down."""

from collections.abc import Sequence

from benchmarks.case import KIB, MIB, Case, Column, Scale, Values, measuring, pick
from benchmarks.client import Request, run_load
from benchmarks.forms import make_upload
from benchmarks.servers import S3Server, Target

SIZES = {
    "1 KiB": KIB,
    "64 KiB": 64 * KIB,
    "1 MiB": MIB,
    "16 MiB": 16 * MIB,
    "128 MiB": 128 * MIB,
    "1 GiB": 1024 * MIB,
}


def get_sizes(scale: Scale) -> dict[str, int]:
    largest = pick(scale, smoke=MIB, quick=128 * MIB, full=1024 * MIB)
    return {label: size for label, size in SIZES.items() if size <= largest}


async def prepare(targets: Sequence[Target], s3: S3Server | None, scale: Scale) -> None:
    if s3 is None:
        raise ValueError("It needs an S3 server.")
    async with s3.open_storage() as storage:
        for size in get_sizes(scale).values():
            await storage.upload(bytes(size), f"{size}.bin")


async def measure_up(target: Target, scale: Scale) -> Values:
    return await measure(
        target, {k: make_upload("/stream", v) for k, v in get_sizes(scale).items()}
    )


async def measure_down(target: Target, scale: Scale) -> Values:
    close = ("connection", "close")
    sizes = get_sizes(scale).items()
    return await measure(
        target, {key: Request("GET", f"/files/{size}.bin", [close]) for key, size in sizes}
    )


async def measure(target: Target, requests: dict[str, Request]) -> Values:
    result: Values = {}
    for label, request in requests.items():
        async with measuring(target) as values:
            await run_load(target.port, lambda _, sent=request: sent, clients=1, seconds=0)  # type: ignore[misc]
        result |= {f"wall {label}": values["seconds"], f"rss {label}": values["rss"]}
    return result


COLUMNS = [
    *(Column(f"wall {label}", f"{label} ms", 1e3, 1) for label in SIZES),
    *(Column(f"rss {label}", f"{label} RSS MiB", 1 / MIB, 1) for label in SIZES),
]
CASES = [
    Case(
        f"sizes-{direction}",
        f"Cost against size, {direction} (form to null S3 and back)",
        ["aiobotocore", "obstore"],
        measure_direction,
        COLUMNS,
        s3="null",
        prepare=prepare,
        draw_lines=True,
        scales=("full",),
    )
    for direction, measure_direction in (("up", measure_up), ("down", measure_down))
]

"""Running cases: all contenders of a case are up, and take turns, round by round."""

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import uvloop

from benchmarks.case import Case, Scale, Values
from benchmarks.catalogue import CONTENDERS
from benchmarks.client import fetch_json
from benchmarks.servers import S3Server, Target, run_s3, start_targets

__all__ = ["CaseResult", "run_cases"]

MEASUREMENT_SECONDS = 600
"""Most seconds of one measurement; what takes longer is reported as failed."""


@dataclass
class CaseResult:
    """What was measured in one case.

    Attributes:
        scale: How large the run was.
        date: When it ended.
        rounds: The values of each round, by contender.
        missing: Why a contender is not among them.
        versions: The Python and the packages of each contender.
    """

    scale: Scale
    date: str = ""
    rounds: dict[str, list[Values]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def run_cases(
    cases: Iterable[Case], scale: Scale, rounds: int
) -> Iterator[tuple[Case, CaseResult]]:
    """Run cases one after the other, each with servers of its own.

    Args:
        cases: Which ones.
        scale: How large.
        rounds: How often each contender is measured.
    """
    for case in cases:
        print(f"{time.strftime('%H:%M:%S')} {case.name}", flush=True)
        with (
            run_s3(case.s3) as s3,
            start_targets(case.contenders, s3, serve=case.serve) as (targets, missing),
        ):
            result = CaseResult(scale, missing=missing)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_run_case(case, targets, s3, result, rounds))
        result.date = time.strftime("%Y-%m-%d %H:%M")
        yield case, result


async def _run_case(
    case: Case, targets: list[Target], s3: S3Server | None, result: CaseResult, rounds: int
) -> None:
    if case.prepare is not None and targets:
        await case.prepare(targets, s3, result.scale)
    for number in range(rounds + 1):
        for target in targets:
            if target.name in result.missing:
                continue
            # The first round is small, and warms everything up.
            scale: Scale = result.scale if number else "smoke"
            if number == 0 and case.prepare is not None:
                continue  # What it would ask for is there in the size of the scale only.
            try:
                async with asyncio.timeout(MEASUREMENT_SECONDS):
                    values = await case.measure(target, scale)
            except (OSError, RuntimeError, TimeoutError, ExceptionGroup) as error:
                print(f"  {target.name} failed: {error!r}", file=sys.stderr, flush=True)
                result.missing[target.name] = f"failed: {error!r}"[:200]
                continue
            if number:
                result.rounds.setdefault(target.name, []).append(values)
    for target in targets:
        if target.has_probe and target.port:
            result.versions[target.name] = await _describe(target)


async def _describe(target: Target) -> str:
    about = await fetch_json(target.port, "GET", "/_about")
    packages = [*CONTENDERS[target.name].packages, "fastapi", "uvicorn"]
    versions = [f"{name} {about['packages'].get(name, '?')}" for name in packages]
    return ", ".join([f"Python {about['python']}", *versions])

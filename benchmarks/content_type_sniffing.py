"""Compare libraries that tell a media type from the first bytes of a file.

Run ``python benchmarks/content_type_sniffing.py`` (Pillow makes the images of the corpus); the
report is Markdown. Candidates that are not installed are listed as left out. The decision that
rests on this report is ``docs/decisions/content-type-sniffing.md``.
"""

import ctypes.util
import importlib
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.append(str(REPOSITORY))

from tests.media_corpus import GROUPS, Sample, canonical, samples  # noqa: E402

HEAD_SIZES = (64, 256, 512, 1024, 2048, 4096, 8192)
DEFAULT_HEAD = 4096
JUNK_HEADS = 8192
ROUNDS = 5

Sniffer = Callable[[bytes], str | None]


@dataclass(frozen=True)
class Candidate:
    """One library: its distribution, the module to import, and a sniffer made from the module."""

    distribution: str
    module: str
    sniffer: Callable[[Any], Sniffer]


def _puremagic(module: Any) -> Sniffer:
    def sniff(head: bytes) -> str | None:
        try:
            return str(module.from_string(head, mime=True)) or None
        except (module.PureError, ValueError):
            return None

    return sniff


def _filetype(module: Any) -> Sniffer:
    sniff: Sniffer = module.guess_mime
    return sniff


def _python_magic(module: Any) -> Sniffer:
    return lambda head: str(module.from_buffer(head, mime=True))


def _magika(module: Any) -> Sniffer:
    model = module.Magika()
    return lambda head: str(model.identify_bytes(head).output.mime_type)


def _ours(module: Any) -> Sniffer:
    sniff: Sniffer = module.sniff_media_type
    return sniff


CANDIDATES = (
    Candidate("puremagic", "puremagic", _puremagic),
    Candidate("filetype", "filetype", _filetype),
    Candidate("python-magic", "magic", _python_magic),
    Candidate("magika", "magika", _magika),
    Candidate("fastapi-async-storages", "fastapi_async_storages.media_types", _ours),
)


def markdown(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    cells = [list(map(str, header)), *(list(map(str, row)) for row in rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def requirements(distribution: str, seen: set[str] | None = None) -> set[str]:
    """The distribution and all that it needs here, by name."""
    seen = set() if seen is None else seen
    if distribution not in seen:
        seen.add(distribution)
        for line in metadata.requires(distribution) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                requirements(requirement.name, seen)
    return seen


def installed_bytes(distribution: str) -> int:
    """The size on disk of a distribution with all that it needs (no byte code)."""
    paths = [
        Path(str(file.locate()))
        for name in requirements(distribution)
        for file in metadata.files(name) or ()
        if file.suffix != ".pyc"
    ]
    return sum(path.stat().st_size for path in paths if path.is_file())


def import_milliseconds(module: str) -> float:
    """The time an import adds to an interpreter that has FastAPI (if installed): the best."""
    code = (
        "import contextlib, time\n"
        "with contextlib.suppress(ImportError):\n    import fastapi\n"
        f"t = time.perf_counter()\nimport {module}\nprint(time.perf_counter() - t)"
    )
    times = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        times.append(float(done.stdout) * 1000)
    return min(times)


def facts(candidate: Candidate) -> list[object]:
    """Version, licence, cost and typing of one candidate."""
    try:
        about = metadata.metadata(candidate.distribution)
    except metadata.PackageNotFoundError:
        about = None
    licence = about and (about["License-Expression"] or about["License"])
    size = f"{installed_bytes(candidate.distribution) / 1e6:.1f}" if about else "-"
    package = importlib.import_module(candidate.module.partition(".")[0])
    typed = (Path(str(package.__file__)).parent / "py.typed").is_file()
    return [
        candidate.distribution,
        about["Version"] if about else "(this tree)",
        str(licence or "-").splitlines()[0],
        size,
        f"{import_milliseconds(candidate.module):.0f}",
        "yes" if typed else "no",
    ]


def ask(sniff: Sniffer, head: bytes) -> str | None:
    """The answer; an error is one too, and a wrong one."""
    try:
        return sniff(head)
    except Exception as error:  # noqa: BLE001 - what it raises is part of the question
        return f"raises {type(error).__name__}"


def verdict(sample: Sample, answer: str | None) -> str:
    """'right', 'silent' (no answer where there is one) or 'wrong' (a false claim)."""
    found = canonical(answer)
    if found in sample.expected:
        return "right"
    return "silent" if found is None else "wrong"


def accuracy(sniff: Sniffer, corpus: list[Sample], group: str) -> str:
    """'right / silent / wrong' of one group at the default head size."""
    counts = Counter(
        verdict(sample, ask(sniff, sample.data[:DEFAULT_HEAD]))
        for sample in corpus
        if sample.group == group
    )
    return " / ".join(str(counts[name]) for name in ("right", "silent", "wrong"))


def microseconds(sniff: Sniffer, corpus: list[Sample]) -> tuple[float, float]:
    """Median and worst time of a call over the corpus (each sample's best of several)."""
    best = []
    for sample in corpus:
        head = sample.data[:DEFAULT_HEAD]
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            ask(sniff, head)
            times.append(time.perf_counter() - start)
        best.append(min(times) * 1e6)
    return statistics.median(best), max(best)


def junk_claims(sniff: Sniffer) -> tuple[int, int]:
    """How often random bytes are taken for something, and how often for an image.

    The first two bytes run evenly through their 65,536 values: short magic numbers are where
    false claims come from.
    """
    generator = random.Random(2)
    claims = images = 0
    for index in range(JUNK_HEADS):
        prefix = (index * 65536 // JUNK_HEADS + generator.randrange(8)).to_bytes(2)
        found = canonical(ask(sniff, prefix + generator.randbytes(510)))
        claims += found is not None
        images += bool(found and found.startswith("image/"))
    return claims, images


def robustness(sniff: Sniffer, corpus: list[Sample]) -> tuple[str, str, str]:
    """What it raises, how many files it opens, and whether four threads agree with one."""
    heads = [one.data[:size] for one in corpus for size in (0, 1, 3, 13, 64, DEFAULT_HEAD, 8192)]
    opened: list[str] = []
    watching = True

    def watch(event: str, args: tuple[object, ...]) -> None:
        if watching and event == "open":
            opened.append(str(args[0]))

    sys.addaudithook(watch)
    alone = [ask(sniff, head) for head in heads]
    watching = False
    together: list[list[str | None]] = []
    threads = [
        threading.Thread(target=lambda: together.append([ask(sniff, head) for head in heads]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    raised = Counter(answer for answer in alone if answer and answer.startswith("raises"))
    errors = ", ".join(f"{name.split()[1]} x{count}" for name, count in raised.items())
    agree = together == [alone] * 4
    return errors or "nothing", f"{len(opened)}", "agree" if agree else "DIFFER"


def load() -> tuple[dict[str, tuple[Candidate, Sniffer]], list[str]]:
    """The candidates that work here, and why the others are left out."""
    found: dict[str, tuple[Candidate, Sniffer]] = {}
    missing = []
    for candidate in CANDIDATES:
        try:
            sniff = candidate.sniffer(importlib.import_module(candidate.module))
        except ImportError as error:
            missing.append(f"{candidate.distribution} ({error})")
        else:
            found[candidate.distribution] = (candidate, sniff)
    return found, missing


def mistakes(sniff: Sniffer, corpus: list[Sample]) -> str:
    """The false claims of one candidate."""
    pairs = [(sample, ask(sniff, sample.data[:DEFAULT_HEAD])) for sample in corpus]
    wrong = [f"{one.name}: `{found}`" for one, found in pairs if verdict(one, found) == "wrong"]
    return "; ".join(wrong) or "none"


def main() -> None:
    """Measure and print the report."""
    search_path = (os.environ.get("PYTHONPATH"), str(REPOSITORY))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, search_path))
    corpus = list(samples())
    found, missing = load()
    print(f"Python {sys.version.split()[0]}; {len(corpus)} samples; heads of {DEFAULT_HEAD} bytes.")
    print(f"libmagic: {ctypes.util.find_library('magic') or 'not installed'}.")
    print(f"Left out: {', '.join(missing) or 'none'}.")
    header = ["library", "version", "licence", "MB with dependencies", "import ms", "typed"]
    print("\n" + markdown(header, [facts(candidate) for candidate, _ in found.values()]))
    print("\nRight / silent / wrong:\n")
    rows = [
        [group, *(accuracy(sniff, corpus, group) for _, sniff in found.values())]
        for group in GROUPS
    ]
    print(markdown(["group", *found], rows))
    print("\nRight answers by size of the head:\n")
    by_size = [
        [
            size,
            *(
                sum(verdict(one, ask(sniff, one.data[:size])) == "right" for one in corpus)
                for _, sniff in found.values()
            ),
        ]
        for size in HEAD_SIZES
    ]
    print(markdown(["bytes", *found], by_size))
    print()
    behaviour = []
    for name, (_, sniff) in found.items():
        middle, worst = microseconds(sniff, corpus)
        claims, images = junk_claims(sniff)
        speed = f"{middle:.0f} / {worst:.0f}"
        junk = f"{claims} ({images} images)"
        behaviour.append([name, speed, junk, *robustness(sniff, corpus)])
    header = ["library", "us median / worst", f"claims on {JUNK_HEADS} random heads"]
    print(markdown([*header, "raises", "files opened", "4 threads"], behaviour))
    print("\nFalse claims:\n")
    for name, (_, sniff) in found.items():
        print(f"- {name}: {mistakes(sniff, corpus)}")


if __name__ == "__main__":
    main()

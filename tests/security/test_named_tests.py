"""Every test that docs/reliability.md names is there. The files are read, not run."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)+)`", PAGE)))


@cache
def collect(path: str) -> frozenset[str]:
    """Return the tests of a file, as pytest names them."""
    return frozenset(_walk(ast.parse((ROOT / path).read_text()), path))


def _walk(parent: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for node in parent.body:
        if isinstance(node, ast.ClassDef):
            yield from _walk(node, f"{prefix}::{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}::{node.name}"


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_is_named_is_there(named: str) -> None:
    assert named in collect(named.partition("::")[0])


def test_each_row_names_a_test() -> None:
    rows = re.findall(r"^\|(?! promise|---)(.+)\|$", PAGE, re.MULTILINE)
    assert len(rows) > 40
    assert [row for row in rows if "`tests/" not in row] == []


def test_a_test_that_is_gone_would_be_noticed() -> None:
    assert "tests/security/test_named_tests.py::test_gone" not in collect(
        "tests/security/test_named_tests.py"
    )

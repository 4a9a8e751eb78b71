"""The short form of ``make soak``: nothing grows in an app that is used."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.backends import serve_watched_app
from tests.soak.load import Soak, find_growth
from tests.soak.watched_app import State
from tests.storages import BACKENDS

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("backend", BACKENDS)
async def test_nothing_grows(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with serve_watched_app(
        backend, tmp_path, lambda: request.getfixturevalue("s3_server")
    ) as base_url:
        soak = Soak(base_url)
        states = [await soak.run_round(50) for _ in range(6)]
    assert soak.requests >= 300
    assert find_growth(states) == []


@pytest.mark.parametrize(
    "what, growth",
    [("memory", 5 * 1024**2), ("objects", 300), ("descriptors", 1), ("tasks", 1), ("files", 1)],
)
def test_what_grows_is_found(what: str, growth: int) -> None:
    flat = State(100 * 1024**2, 100_000, 20, 10, 3, 0, 0)
    states = [replace(flat, **{what: getattr(flat, what) + n * growth}) for n in range(6)]
    assert [found.split(":")[0] for found in find_growth(states)] == [what]
    assert find_growth([flat] * 6) == []

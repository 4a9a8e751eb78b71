"""Requests made up from the OpenAPI schemas: no server error, and no answer that no schema has."""

import subprocess
import sysconfig
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.servers.http_server import serve_in_process

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")

ENVIRONMENT = {
    "PYTHONPATH": str(PROJECT),
    "STORAGE_URL": "memory://?base_url=/files",
    "SECRET_KEY": "a key that only this test knows of",
}

MAX_EXAMPLES = 15
"""Of each operation and kind of request. ``st run`` takes as many as one has time for."""


def serve_example(directory: Path) -> AbstractContextManager[tuple[str, int]]:
    return serve_in_process(
        "example_app.main:app",
        environment=ENVIRONMENT,
        arguments=["--log-level=critical"],
        cwd=directory,
    )


def serve_routers(directory: Path) -> AbstractContextManager[tuple[str, int]]:
    return serve_in_process(
        "tests.security.fuzzed_app:make_app",
        environment=ENVIRONMENT,
        arguments=["--factory", "--log-level=critical"],
        cwd=directory,
    )


@pytest.mark.parametrize("serve", [serve_example, serve_routers])
def test_answers_are_what_the_schema_says(
    serve: Callable[[Path], AbstractContextManager[tuple[str, int]]], tmp_path: Path
) -> None:
    command = [
        f"{sysconfig.get_path('scripts')}/schemathesis",
        f"--config-file={CONFIG}",
        "--no-color",
        "run",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={MAX_EXAMPLES}",
        "--generation-deterministic",
        "--warnings=off",
    ]
    with serve(tmp_path) as (url, _):
        done = subprocess.run(
            [*command, f"{url}/openapi.json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr

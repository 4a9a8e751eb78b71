"""Virtual environments, one for each contender, kept until what it needs changes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["EnvironmentMissingError", "prepare_environment"]

DIRECTORY = Path(__file__).resolve().parent / ".venvs"


class EnvironmentMissingError(Exception):
    """An environment could not be made: no such Python, or no package index."""


def prepare_environment(name: str, requirements: Sequence[str], python: str | None) -> Path:
    """Return the interpreter of an environment; make it when it is missing.

    Args:
        name: Of the environment.
        requirements: What is installed in it; the project's own environment when there are none.
        python: Which version, at least; that of this process when not given.

    Raises:
        EnvironmentMissingError: When it cannot be made.
    """
    if not requirements:
        return Path(sys.executable)
    directory = DIRECTORY / name
    interpreter, installed = directory / "bin" / "python", directory / "installed.txt"
    wanted = "\n".join(requirements)
    if not installed.exists() or installed.read_text() != wanted:
        version = f">={python}" if python else sys.executable
        _run_uv("venv", "--clear", "--python", version, directory)
        _run_uv("pip", "install", "--python", interpreter, *requirements)
        installed.write_text(wanted)
    return interpreter


def _run_uv(*arguments: str | Path) -> None:
    # pyenv keeps its versions where only its own shims find them.
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, pyenv), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [sys.executable, "-m", "uv", "--quiet", *arguments],
        env={**os.environ, "PATH": path, "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EnvironmentMissingError(done.stderr.strip().splitlines()[0])

"""A private PostgreSQL cluster, from the binaries that are installed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": ".",
    # The data lives no longer than the session.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Two-phase commit is off by default.
    "max_prepared_transactions": "20",
}


# Debian keeps the programs of the server off the PATH, and those of each version apart.
_DEBIAN = Path("/usr/lib/postgresql")


def find_binaries() -> Path:
    """Find the directory of initdb and pg_ctl: on the PATH, else the newest of Debian.

    Without one, the test that asks is skipped. In CI, where nobody would notice, it fails.
    """
    on_path = shutil.which("initdb")
    versions = _DEBIAN.glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    found = newest if on_path is None else Path(on_path).resolve()
    if found is not None:
        return found.parent
    reason = "PostgreSQL is not installed: apt-get install postgresql, or put initdb on the PATH"
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def run_postgresql(binaries: Path) -> Iterator[str]:
    """Run a new cluster on a free port of 127.0.0.1; yield the SQLAlchemy URL of its database."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    # Not pytest's tmp_path: only its own user may enter the directories above it.
    with TemporaryDirectory(prefix="postgresql-") as directory:
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
        initdb = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = " ".join(
            f"-c {name}={value}" for name, value in (_OPTIONS | {"port": port}).items()
        )
        _run(directory, binaries / "initdb", "--pgdata=data", *initdb)
        try:
            # Returns when the server takes connections.
            _run(directory, binaries / "pg_ctl", "start", "-D", "data", "-l", "log", "-o", options)
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres"
        finally:
            _run(directory, binaries / "pg_ctl", "stop", "-D", "data", "-m", "immediate")


def _run(directory: str, *command: str | Path) -> None:
    result = subprocess.run(
        command,
        cwd=directory,
        # PostgreSQL refuses to run as root. Debian's package brings this user.
        user="postgres" if os.geteuid() == 0 else None,
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    if result.returncode:
        log = Path(directory, "log")
        server = log.read_text() if log.exists() else ""
        raise RuntimeError(f"{command} failed: {result.stdout}{result.stderr}{server}")

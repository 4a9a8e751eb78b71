"""The processes of a run: an S3 server, the contenders that talk to it, and nginx."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from benchmarks.catalogue import CONTENDERS
from benchmarks.environments import EnvironmentMissingError, prepare_environment
from fastapi_async_storages import S3Storage
from fastapi_async_storages.testing.seaweedfs import SeaweedFS
from tests.servers.http_server import free_port, wait_for_port
from tests.servers.nginx import find_nginx, run_nginx

__all__ = ["S3Kind", "S3Server", "Target", "run_s3", "start_targets"]

ROOT = Path(__file__).resolve().parent.parent
BUCKET = "bench"
STOP_SECONDS = 10

S3Kind: TypeAlias = Literal["seaweedfs", "null"]


@dataclass(frozen=True)
class S3Server:
    """An S3 server with one bucket."""

    port: int
    access_key: str = "bench"
    secret_key: str = "benchmarks"  # noqa: S105 - of a server that does not look at it
    is_null: bool = False

    @property
    def endpoint_url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open_storage(self) -> AsyncIterator[S3Storage]:
        """Open the bucket, to put there what the contenders shall find."""
        storage = S3Storage(
            BUCKET,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )
        async with storage:
            yield storage


@dataclass(frozen=True)
class Target:
    """A contender that is ready to be measured.

    Attributes:
        name: Its name in the catalogue.
        port: Where its server listens; 0 when the case starts none.
        interpreter: The Python of its environment.
        directory: For its files; in memory.
        s3: The server that it uses, if any.
        environment: What its process knows from the environment.
    """

    name: str
    port: int
    interpreter: Path
    directory: Path
    s3: S3Server | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def wait(self) -> None:
        """Wait until its server accepts connections.

        Raises:
            RuntimeError: When it ended, or does not accept.
        """
        process = self.process
        if process is not None:
            wait_for_port(self.port, lambda: process.poll() is None)

    @property
    def has_probe(self) -> bool:
        """Whether its process measures itself."""
        return bool(CONTENDERS[self.name].module)


@contextmanager
def run_s3(kind: S3Kind | None) -> Iterator[S3Server | None]:
    """Run an S3 server, with all its data in memory."""
    if kind is None:
        yield None
    elif kind == "null":
        port = free_port()
        with _run([sys.executable, "-m", "benchmarks.null_s3", str(port)], cwd=ROOT) as process:
            wait_for_port(port, lambda: process.poll() is None)
            yield S3Server(port, is_null=True)
    else:
        with (
            make_directory() as directory,
            SeaweedFS(directory, buckets=[BUCKET]) as server,
        ):
            port = int(server.endpoint_url.rpartition(":")[2])
            yield S3Server(port, server.access_key, server.secret_key)


@contextmanager
def make_directory() -> Iterator[Path]:
    """Make a directory in memory, where there is one, and remove it in the end."""
    memory = Path("/dev/shm")  # noqa: S108
    with TemporaryDirectory(prefix="bench-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@contextmanager
def start_targets(
    names: Sequence[str], s3: S3Server | None, *, serve: bool
) -> Iterator[tuple[list[Target], dict[str, str]]]:
    """Start contenders.

    Args:
        names: Which ones.
        s3: The S3 server for them.
        serve: Whether to start their servers, or only to have their environments ready.

    Yields:
        Those that are ready, and why the others are not.
    """
    targets: list[Target] = []
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        directory = stack.enter_context(make_directory())
        for name in names:
            try:
                targets.append(_start(name, s3, directory, stack, serve=serve))
            except EnvironmentMissingError as error:
                missing[name] = str(error)
        # Only now, so that they start side by side.
        for target in targets:
            try:
                target.wait()
            except RuntimeError:
                missing[target.name] = "its app does not start"
        yield [target for target in targets if target.name not in missing], missing


def _start(
    name: str, s3: S3Server | None, directory: Path, stack: ExitStack, *, serve: bool
) -> Target:
    contender = CONTENDERS[name]
    if not contender.module:
        program = find_nginx()
        if program is None:
            raise EnvironmentMissingError("nginx is not installed")
        files = f"location /files/ {{ alias {directory}/; }}"
        locations = f"sendfile on; keepalive_requests 1000000; {files}"
        home = Path(stack.enter_context(TemporaryDirectory(prefix="nginx-", dir=directory)))
        url = stack.enter_context(run_nginx(program, home, locations))
        return Target(name, int(url.rpartition(":")[2]), Path(program), directory)
    interpreter = prepare_environment(contender.module, contender.requirements, contender.python)
    environment = {**contender.environment, "BENCH_DIRECTORY": str(directory)}
    if s3 is not None:
        environment |= {
            "BENCH_ENDPOINT": s3.endpoint_url,
            "BENCH_ACCESS_KEY": s3.access_key,
            "BENCH_SECRET_KEY": s3.secret_key,
            "BENCH_BUCKET": BUCKET,
        }
    # Temporary files go to a disk: the kernel counts them there, and most machines have them there.
    environment["TMPDIR"] = stack.enter_context(TemporaryDirectory(prefix="bench-", dir="/var/tmp"))
    environment["PYTHONPATH"] = str(ROOT / "benchmarks" / "contenders")
    port, process = 0, None
    if serve:
        port = free_port()
        command: list[str | Path] = [
            interpreter,
            "-m",
            "uvicorn",
            f"{contender.module}:app",
            f"--port={port}",
        ]
        options = ["--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"]
        # Not from the root of the project, which would hide the packages of a contender.
        server = _run([*command, *options], cwd=directory, environment=environment)
        process = stack.enter_context(server)
    return Target(name, port, interpreter, directory, s3, environment, process)


@contextmanager
def _run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(environment or {})})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

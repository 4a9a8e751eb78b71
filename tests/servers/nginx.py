"""A real nginx in front of an app, when it is installed."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.http_server import free_port, wait_for_port

__all__ = ["find_nginx", "run_nginx"]


def find_nginx() -> str | None:
    """Return the program; Debian keeps it where users have no PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def run_nginx(program: str, directory: Path, locations: str) -> Iterator[str]:
    """Start nginx on a free port.

    Args:
        program: The program.
        directory: Where it may put its files.
        locations: What goes into its ``server``.

    Yields:
        The base URL, without a slash at its end.
    """
    port = free_port()
    (directory / "nginx.conf").write_text(f"""
        # Otherwise the workers of root are `nobody`, who cannot read the tests' directories.
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off;
        pid {directory}/nginx.pid;
        error_log stderr warn;
        worker_processes 1;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {directory}/body;
            proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fastcgi;
            uwsgi_temp_path {directory}/uwsgi;
            scgi_temp_path {directory}/scgi;
            server {{
                listen 127.0.0.1:{port};
                {locations}
            }}
        }}
    """)
    process = subprocess.Popen([program, "-p", directory, "-c", directory / "nginx.conf"])
    try:
        wait_for_port(port, lambda: process.poll() is None)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)

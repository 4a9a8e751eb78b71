"""A real lighttpd in front of an app, when it is installed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.http_server import free_port, wait_for_port

__all__ = ["find_lighttpd", "run_lighttpd"]


def find_lighttpd() -> str | None:
    """Return the program; Debian keeps it where users have no PATH."""
    return shutil.which("lighttpd") or shutil.which("lighttpd", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def run_lighttpd(program: str, directory: Path, app_url: str, files: Path) -> Iterator[str]:
    """Start lighttpd on a free port.

    Args:
        program: The program.
        directory: Where it may put its files.
        app_url: Where the app listens.
        files: The folder of which it may send what the app names by ``X-Sendfile``.

    Yields:
        The base URL, without a slash at its end.
    """
    port, app = free_port(), urlsplit(app_url)
    (directory / "lighttpd.conf").write_text(f"""
        server.modules = ("mod_proxy")
        server.document-root = "{directory}"
        server.bind = "127.0.0.1"
        server.port = {port}
        proxy.server = ("" => ((
            "host" => "{app.hostname}",
            "port" => {app.port},
            "x-sendfile" => "enable",
            "x-sendfile-docroot" => ("{files}"),
        )))
    """)
    process = subprocess.Popen([program, "-D", "-f", directory / "lighttpd.conf"])
    try:
        wait_for_port(port, lambda: process.poll() is None)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)

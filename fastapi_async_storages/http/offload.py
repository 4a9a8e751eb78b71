"""Files sent by the web server in front of the app, which needs only a header to do it.

The app decides who may read and how the file is presented; nginx, Apache or lighttpd sends the
bytes, with ranges and conditions of their own.
"""

from pathlib import Path
from typing import Protocol

from starlette.responses import Response

from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.headers import FileHeaders

__all__ = ["Offload", "get_local_path", "offload_response"]

# The web server finds these out from the file, and the body of our own answer is empty.
_LEFT_TO_THE_SERVER = frozenset(
    {"accept-ranges", "content-length", "content-range", "etag", "last-modified"}
)


class Offload(Protocol):
    """A way to tell the web server in front which file to send."""

    def make_header(self, name: str, path: Path) -> tuple[str, str]:
        """Return name and value of the header that names the file.

        Args:
            name: Name of the file in its storage, and below the storage's root.
            path: Where it is on this machine.
        """


async def offload_response(
    offload: Offload,
    file: StorageFile,
    *,
    presentation: FileHeaders,
    disposition: Disposition | None = None,
    filename: str | None = None,
) -> Response:
    """Return the answer that makes the web server send a file.

    Conditions and ranges are not looked at: the server in front has entity tags of its own.

    Args:
        offload: How to tell it.
        file: Which file.
        presentation: How the file is presented.
        disposition: Whether a browser shows the file or saves it, if the request says so.
        filename: Name under which a browser saves the file, if the request says so.

    Raises:
        NotFoundError: When there is no such file.
        ConfigurationError: When the storage does not keep its files on this machine.
    """
    path = await get_local_path(file)
    if path is None:
        raise ConfigurationError(
            f"{file.storage!r} has no files on this machine that a web server could send: create"
            " the router without offload.",
            storage=repr(file.storage),
        )
    info = await file.storage.get_info(file.name)
    name, value = offload.make_header(file.name, path)
    described = presentation.describe(info, disposition=disposition, filename=filename)
    headers = {key: text for key, text in described.items() if key not in _LEFT_TO_THE_SERVER}
    return Response(headers={**headers, name: value})


async def get_local_path(file: StorageFile) -> Path | None:
    """Return where a file is on this machine, or ``None`` when its storage is elsewhere.

    Raises:
        NotFoundError: When there is no such file.
    """
    # Not `isinstance(..., LocalStorage)`: that class cannot be imported on Windows.
    getter = getattr(file.storage, "get_local_path", None)
    if getter is None:
        return None
    path: Path = await getter(file.name)
    return path

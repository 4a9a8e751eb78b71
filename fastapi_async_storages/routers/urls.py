"""URLs of files for the page or the JSON that is being made."""

from datetime import timedelta
from urllib.parse import quote, urlencode, urljoin

from starlette.requests import Request
from starlette.routing import NoMatchFound

from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.lifespan import STATE_KEY
from fastapi_async_storages.links import plain_query
from fastapi_async_storages.registry import Storages
from fastapi_async_storages.routers.files import route_name

__all__ = ["file_url"]


async def file_url(
    request: Request,
    file: StorageFile,
    *,
    expires_in: int | timedelta | None = None,
    filename: str | None = None,
    disposition: Disposition | None = None,
) -> str:
    """Return the absolute URL at which the client of this request gets a file.

    It is the URL of the app's files router for the storage of the file: with the scheme, the host
    and the ``root_path`` by which the client reached the app. Where the app serves signed links
    only, or has no router for the storage, it is ``file.get_path()``, made absolute.

    Behind a proxy the server must be told to trust its headers (``uvicorn --proxy-headers
    --forwarded-allow-ips``), or scheme and host are those of the last hop.

    Args:
        request: The request that is being answered.
        file: Which file. Whether it exists is not checked.
        expires_in: Seconds that a signed URL works; an hour when not given.
        filename: Name under which a browser saves the file.
        disposition: Whether a browser shows the file or saves it.

    Raises:
        ConfigurationError: When there is neither a router nor a URL of the storage.
    """
    url = _find_route(request, file)
    if url is not None:
        query = urlencode(plain_query(filename, disposition))
        return f"{url}?{query}" if query else url
    path = await file.get_path(expires_in=expires_in, filename=filename, disposition=disposition)
    # base_url is the public path already: it has the root_path in it, if there is one.
    return urljoin(str(request.base_url), path)


def _find_route(request: Request, file: StorageFile) -> str | None:
    storages = request.scope.get("state", {}).get(STATE_KEY)
    if not isinstance(storages, Storages):
        return None
    for name in storages:
        if storages[name] is file.storage:
            try:
                # Starlette puts the value of a path parameter into the URL as it is.
                return str(request.url_for(route_name(name), name=quote(file.name)))
            except NoMatchFound:
                return None
    return None

"""Redirects to the storage itself: the bytes of a file never pass through the app."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, TypeAlias

from starlette.responses import Response

from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.headers import FileHeaders, get_filename

__all__ = ["MIN_EXPIRES_IN", "RedirectStatus", "Redirects"]

RedirectStatus: TypeAlias = Literal[302, 307]
"""Status of a redirect that may lead elsewhere next time.

Source: RFC 9110 sections 15.4.3 and 15.4.8.
"""

MIN_EXPIRES_IN = 60
"""Fewest seconds that the URL of a redirect works: a slow client has to get there in time."""

MAX_URLS = 1024
"""Most URLs kept for reuse, at about 1 KB each."""


@dataclass(frozen=True, slots=True)
class _PresignedUrl:
    url: str
    expires_at: float
    storable: bool


class Redirects:
    """Makes the redirects of one route, and uses a presigned URL again while it is young.

    A new signature each time would be a new URL each time, and no browser would find the file in
    its cache. A URL is reused in the first half of its life, and a redirect may be kept until three
    quarters of it are over; so whoever follows one has at least a quarter left to load the file.

    Args:
        presentation: How files are presented.
        expires_in: Seconds that a presigned URL works.
        status: Status of the redirect.

    Raises:
        ValueError: When ``expires_in`` is below :data:`MIN_EXPIRES_IN`.
    """

    def __init__(
        self, presentation: FileHeaders, *, expires_in: int, status: RedirectStatus
    ) -> None:
        if expires_in < MIN_EXPIRES_IN:
            raise ValueError(f"A redirect must work for at least {MIN_EXPIRES_IN} seconds.")
        self._presentation = presentation
        self._expires_in = expires_in
        self._status = status
        self._urls: OrderedDict[tuple[object, ...], _PresignedUrl] = OrderedDict()

    async def redirect(
        self, file: StorageFile, *, disposition: Disposition | None, filename: str | None
    ) -> Response:
        """Return the redirect to a file.

        Args:
            file: Which file.
            disposition: Whether a browser shows the file or saves it, if the request says so.
            filename: Name under which a browser saves the file, if the request says so.

        Raises:
            NotFoundError: When there is no such file.
        """
        now = time.time()
        key = (file.storage, file.name, disposition, filename)
        presigned = self._urls.get(key)
        if presigned is None or presigned.expires_at - now <= self._expires_in / 2:
            presigned = await self._presign(file, disposition, filename, now)
            self._urls[key] = presigned
            if len(self._urls) > MAX_URLS:
                self._urls.popitem(last=False)
        self._urls.move_to_end(key)
        max_age = int(presigned.expires_at - now - self._expires_in / 4)
        # `private`: the signature is a key to the file, and no shared cache may hand it out.
        cache_control = f"private, max-age={max_age}" if presigned.storable else "no-store"
        return Response(
            status_code=self._status,
            headers={"location": presigned.url, "cache-control": cache_control},
        )

    async def _presign(
        self, file: StorageFile, disposition: Disposition | None, filename: str | None, now: float
    ) -> _PresignedUrl:
        info = await file.storage.get_info(file.name)
        _, disposition = self._presentation.present(info, disposition)
        url = await file.storage.get_path(
            file.name,
            expires_in=self._expires_in,
            filename=get_filename(info, filename),
            disposition=disposition,
        )
        storable = "no-store" not in (info.cache_control or "").lower()
        return _PresignedUrl(url, now + self._expires_in, storable)

"""Links to files that the app serves itself: a storage makes them, a files router verifies them.

S3 signs URLs of its own. A storage on disk or in memory has none, so it links to the router that
serves it, with a token of ours when it has a secret key.
"""

import time
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from fastapi_async_storages.exceptions import ConfigurationError, InvalidSignatureError
from fastapi_async_storages.keys import clean_filename
from fastapi_async_storages.signing import EXPIRES_AT, SecretKey, TokenSigner
from fastapi_async_storages.storage import Disposition

__all__ = [
    "DOWNLOAD_PARAMETER",
    "FILENAME_PARAMETER",
    "TOKEN_PARAMETER",
    "FileLinks",
    "Link",
    "plain_query",
]

TOKEN_PARAMETER = "token"  # noqa: S105 - the name of a parameter
"""Query parameter that holds the token of a signed link."""

DOWNLOAD_PARAMETER = "download"
"""Query parameter of a link without a token: ``1`` saves the file, ``0`` shows it."""

FILENAME_PARAMETER = "filename"
"""Query parameter of a link without a token: the name under which a browser saves the file."""

_WINDOWS_PER_LIFETIME = 10
_DISPOSITION_CODES: dict[Disposition, str] = {"inline": "i", "attachment": "a"}
_DISPOSITIONS = {code: disposition for disposition, code in _DISPOSITION_CODES.items()}


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says beyond the file that it names.

    Attributes:
        expires_at: Unix time in seconds at which the link stops working, if it does.
        filename: Name under which a browser saves the file, if the link was made with one.
        disposition: Whether a browser shows the file or saves it, if the link says so.
    """

    expires_at: int | None = None
    filename: str | None = None
    disposition: Disposition | None = None


class FileLinks:
    """Makes the links of one storage, and verifies them.

    A token is bound to the file's name and to ``base_url``: it opens no other file, and nothing
    in another storage that has the same secret key.

    Args:
        base_url: URL, or absolute path, at which a files router serves the storage.
        secret_key: Key that signs the links, or several for rotation. Without one links are plain.
        storage: How errors name the storage.

    Raises:
        ConfigurationError: When ``base_url`` is no URL or path, or a key is too short.
    """

    def __init__(
        self, base_url: str | None, secret_key: SecretKey | None = None, *, storage: str
    ) -> None:
        if base_url is not None and not _is_base_url(base_url):
            # The URL itself stays out of the message: it may have a password in it.
            raise ConfigurationError(
                f"{storage}: base_url must be a URL that starts with http:// or https://, or a path"
                " that starts with one '/', without a query.",
                storage=storage,
            )
        if secret_key is not None:
            TokenSigner(secret_key, purpose="file")  # Refuses a weak key now, not at the first use.
        self._base_url = None if base_url is None else base_url.rstrip("/")
        self._secret_key = secret_key
        self._storage = storage

    @property
    def secret_key(self) -> SecretKey | None:
        """What signs the links, if they are signed. Tickets for uploads are signed with it too."""
        return self._secret_key

    @property
    def signed(self) -> bool:
        """Whether links carry a token, because there is a secret key."""
        return self._secret_key is not None

    def make(
        self, name: str, *, expires_in: int, filename: str | None, disposition: Disposition | None
    ) -> str:
        """Return a link.

        The end of a signed link is rounded up to a multiple of a tenth of ``expires_in``. So calls
        within that time return the same link, and a browser that has the file uses its cache.

        Args:
            name: Name of the file, in its safe form.
            expires_in: Seconds that a signed link works, at least; at most a tenth more.
            filename: Name under which a browser saves the file.
            disposition: Whether a browser shows the file or saves it.

        Raises:
            ConfigurationError: When there is no ``base_url``.
        """
        base_url = self._get_base_url()
        if filename is not None:
            filename = clean_filename(filename)
        if self._secret_key is None:
            query = plain_query(filename, disposition)
        else:
            payload = {"f": filename, "d": disposition and _DISPOSITION_CODES[disposition]}
            token = self._signer(name).sign(
                {key: value for key, value in payload.items() if value is not None},
                expires_at=_round_up(time.time() + expires_in, expires_in),
            )
            query = {TOKEN_PARAMETER: token}
        return f"{base_url}/{quote(name)}{'?' if query else ''}{urlencode(query)}"

    def verify(self, name: str, token: str) -> Link:
        """Return what a token grants for a file.

        Args:
            name: Name of the file, in its safe form.
            token: Value of :data:`TOKEN_PARAMETER`.

        Raises:
            InvalidSignatureError: When the token is not ours, or for another file or storage.
            LinkExpiredError: When it is ours, and its time is over.
            ConfigurationError: When there is no secret key or no ``base_url``.
        """
        try:
            payload = self._signer(name).verify(token)
        except InvalidSignatureError as error:
            error.storage, error.name = self._storage, name
            raise
        return Link(
            expires_at=payload[EXPIRES_AT],
            filename=payload.get("f"),
            disposition=_DISPOSITIONS.get(payload.get("d", "")),
        )

    def _get_base_url(self) -> str:
        if self._base_url is None:
            raise ConfigurationError(
                f"{self._storage} has no URLs: pass base_url, the URL or path at which a router of"
                " create_files_router() serves it.",
                storage=self._storage,
            )
        return self._base_url

    def _signer(self, name: str) -> TokenSigner:
        if self._secret_key is None:
            raise ConfigurationError(
                f"{self._storage} signs no links: pass secret_key.", storage=self._storage
            )
        # Neither a URL nor a name has a line break, so no two pairs give the same purpose.
        return TokenSigner(self._secret_key, purpose=f"file\n{self._get_base_url()}\n{name}")


def _is_base_url(value: str) -> bool:
    if not (value.isascii() and value.isprintable()) or any(char in value for char in " ?#\\"):
        return False
    if value.startswith("/"):
        return not value.startswith("//")  # "//host" is a URL of another host.
    try:
        url = urlsplit(value)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname)


def _round_up(moment: float, lifetime: int) -> int:
    window = max(lifetime // _WINDOWS_PER_LIFETIME, 1)
    return -int(-moment // window) * window


def plain_query(filename: str | None, disposition: Disposition | None) -> dict[str, str]:
    """Return the query parameters of a link without a token.

    Args:
        filename: Name under which a browser saves the file.
        disposition: Whether a browser shows the file or saves it.
    """
    query = {}
    if disposition is not None:
        query[DOWNLOAD_PARAMETER] = "1" if disposition == "attachment" else "0"
    if filename is not None:
        query[FILENAME_PARAMETER] = filename
    return query

"""A storage from one line of text, as settings and environment variables hold it.

For example ``storage_from_url(os.environ["STORAGE_URL"], secret_key=os.environ["SECRET_KEY"])``,
with one of these::

    s3://bucket/prefix?endpoint_url=http://localhost:9000&region_name=eu-central-1
    file:///srv/files?base_url=/files       (a folder of this machine)
    file:var/files?base_url=/files          (relative to the working directory)
    memory://?base_url=/files               (gone when the process ends)
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from fastapi_async_storages.backends.memory import MemoryStorage
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.signing import SecretKey
from fastapi_async_storages.storage import Storage

__all__ = ["storage_from_url"]

_Parser: TypeAlias = Callable[[str], Any]


def storage_from_url(url: str, *, secret_key: SecretKey | None = None) -> Storage:
    """Make the storage that a URL describes.

    - ``s3://bucket/prefix`` is an :class:`S3Storage`; the query holds its other arguments, such as
      ``endpoint_url``, ``region_name``, ``use_ssl=false``, ``part_size=16777216`` (bytes).
      Credentials are best left to the chain of the AWS SDK (``AWS_ACCESS_KEY_ID`` and its like, a
      profile, a role). ``s3://KEY:SECRET@bucket`` works where that is not possible, each half
      percent-encoded, since the keys of AWS may have a ``/``.
    - ``file:///folder`` and ``file:relative/folder`` are a :class:`LocalStorage`, with
      ``base_url``.
    - ``memory://`` is a :class:`MemoryStorage`, with ``base_url``.

    Errors name an option, never the URL, so that no secret of it reaches a log.

    Args:
        url: The URL. What is special in a URL (``?``, ``&``, ``#``, ``%``) is percent-encoded.
        secret_key: Key that signs the links of a ``file:`` or ``memory:`` storage. S3 has its own.

    Raises:
        ConfigurationError: When the URL is not understood; the message lists what would be.
        MissingDependencyError: When it is an ``s3:`` URL and the extra is not installed.
    """
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError("The storage's URL is no URL.") from None  # Its text has the URL.
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"The storage's URL has the scheme {parts.scheme!r}; known are s3://bucket/prefix,"
            " file:///folder, file:relative/folder and memory://."
        )
    if parts.fragment:
        raise ConfigurationError("The storage's URL has a '#'; write it as %23.")
    make, options = _SCHEMES[parts.scheme]
    return make(parts, _parse_options(query, options), secret_key)


def _make_s3(
    parts: SplitResult, options: Mapping[str, Any], secret_key: SecretKey | None
) -> Storage:
    del secret_key
    # It needs an extra.
    from fastapi_async_storages.backends.s3 import S3Storage  # noqa: PLC0415

    # Not `parts.hostname`, which is in lower case.
    credentials, at, bucket = parts.netloc.rpartition("@")
    key_id, _, key = credentials.partition(":")
    if not bucket or ":" in bucket or (at and not (key_id and key)):
        raise ConfigurationError(
            "An s3: URL is s3://bucket/prefix or s3://KEY:SECRET@bucket/prefix, where each '/' and"
            " '@' of a key is percent-encoded; the server goes into ?endpoint_url=."
        )
    return S3Storage(
        unquote(bucket),
        aws_access_key_id=unquote(key_id) or None,
        aws_secret_access_key=unquote(key) or None,
        prefix=unquote(parts.path).strip("/"),
        **options,
    )


def _make_local(
    parts: SplitResult, options: Mapping[str, Any], secret_key: SecretKey | None
) -> Storage:
    # It needs a POSIX system.
    from fastapi_async_storages.backends.local import LocalStorage  # noqa: PLC0415

    # Source: RFC 8089 section 2; without an authority and a leading slash, the path is relative.
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ConfigurationError(
            "A file: URL is file:///folder (three slashes) or file:relative/folder (none)."
        )
    return LocalStorage(unquote(parts.path), secret_key=secret_key, **options)


def _make_memory(
    parts: SplitResult, options: Mapping[str, Any], secret_key: SecretKey | None
) -> Storage:
    if parts.netloc or parts.path:
        raise ConfigurationError("A memory: URL is memory:// and its options.")
    return MemoryStorage(secret_key=secret_key, **options)


def _parse_options(query: list[tuple[str, str]], known: Mapping[str, _Parser]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in query:
        if name not in known:
            raise ConfigurationError(
                f"The storage's URL has the option {name!r}; known are: {', '.join(known)}."
            )
        if name in options:
            raise ConfigurationError(f"The storage's URL has the option {name!r} twice.")
        try:
            options[name] = known[name](value)
        except ValueError as error:
            raise ConfigurationError(
                f"The storage's URL has the option {name}={value!r}: {error}."
            ) from error
    return options


def _parse_text(value: str) -> str:
    if not value:
        raise ValueError("it is empty")
    return value


def _parse_bool(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ValueError("it must be true or false")
    return value.lower() in ("true", "1")


def _parse_choice(*choices: str) -> _Parser:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"it must be one of {', '.join(choices)}")
        return value

    return parse


def _parse_int(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError("it must be a whole number")
    return int(value)


_Maker: TypeAlias = Callable[[SplitResult, Mapping[str, Any], SecretKey | None], Storage]

_SCHEMES: Mapping[str, tuple[_Maker, Mapping[str, _Parser]]] = {
    "s3": (
        _make_s3,
        {
            "endpoint_url": _parse_text,
            "region_name": _parse_text,
            "use_ssl": _parse_bool,
            "default_acl": _parse_text,
            "custom_domain": _parse_text,
            "querystring_auth": _parse_bool,
            "public_endpoint_url": _parse_text,
            "addressing_style": _parse_choice("auto", "path", "virtual"),
            "checksum_mode": _parse_choice("when_supported", "when_required"),
            "part_size": _parse_int,
            "max_concurrency": _parse_int,
            "engine": _parse_choice("aiobotocore", "obstore"),
        },
    ),
    "file": (_make_local, {"base_url": _parse_text}),
    "memory": (_make_memory, {"base_url": _parse_text}),
}

"""Who may read a file: everybody, whoever holds a signed link, or whom a rule of the app lets."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Query

from fastapi_async_storages.exceptions import (
    AccessDeniedError,
    ConfigurationError,
    InvalidSignatureError,
    NotFoundError,
)
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.injection import inject
from fastapi_async_storages.links import FileLinks, Link

__all__ = ["AccessRule", "Denial", "make_access_dependency", "public", "signed_urls"]

AccessRule: TypeAlias = Callable[..., Awaitable[bool | Link] | bool | Link]
"""Decides whether a request may have a file: ``(request, file) -> bool``, sync or async.

A rule is a FastAPI dependency with one more parameter, ``file: StorageFile``: it can ask for
whatever an endpoint can (the user, a database session), and raise ``HTTPException`` for an answer
of its own, such as a 401. It may return a :class:`Link` instead of ``True``, which also says how
the file is shown and what it is called.

FastAPI keeps dependencies with ``yield`` open until the last byte is sent. A rule should ask for a
database session with ``Depends(get_session, scope="function")``, which is closed before the first
one, or every slow client holds a connection of the pool.
"""

Denial: TypeAlias = Literal["forbidden", "missing"]
"""What a client hears of a file that it may not have: 403 (410 for an expired link), or the same
404 as of a file that is not there."""


async def public() -> bool:
    """Let everybody have every file."""
    return True


async def signed_urls(file: StorageFile, token: Annotated[str | None, Query()] = None) -> Link:
    """Let whoever holds a signed link have the file, until the link expires.

    ``get_path`` of the storage makes the links. Those of S3 lead to S3, not here: a router for S3
    with this rule serves nothing.

    Raises:
        InvalidSignatureError: When the token is missing, or the storage did not sign it.
        LinkExpiredError: When the storage did sign it, and its time is over.
        ConfigurationError: When the storage has no ``secret_key`` or no ``base_url``.
    """
    links = getattr(file.storage, "links", None)
    if token is None or not isinstance(links, FileLinks):
        raise InvalidSignatureError(f"{file.name!a} needs a signed link.", name=file.name)
    return links.verify(file.name, token)


def make_access_dependency(
    rule: AccessRule, get_file: Callable[..., Any] | None, *, denial: Denial
) -> Callable[..., Awaitable[Link]]:
    """Return the dependency that lets a request pass as the rule says, or raises.

    Args:
        rule: See :data:`AccessRule`.
        get_file: The dependency that returns the file that the request names; ``None`` when it
            names none.
        denial: What a client hears that may not have the file.

    Returns:
        A dependency; its value says how the link shows the file.

    Raises:
        ConfigurationError: When the rule asks for a file, and the request names none.
    """
    ask = inject(rule, get_file)

    async def check_access(**arguments: Any) -> Link:
        try:
            granted = await ask(**arguments)
        except InvalidSignatureError:
            if denial == "forbidden":
                raise
            granted = False
        if isinstance(granted, Link):
            return granted
        if granted is True:
            return Link()
        if granted is False:
            raise _deny(denial)
        # A generator, or the None of a forgotten `return`, must open nothing.
        raise ConfigurationError(
            f"The access rule {rule!r} must return True or False, not {granted!r}."
        )

    # FastAPI reads here what the rule asks for.
    check_access.__signature__ = inspect.signature(ask)  # type: ignore[attr-defined]
    return check_access


def _deny(denial: Denial) -> AccessDeniedError | NotFoundError:
    if denial == "missing":
        return NotFoundError("There is no such file for this client.")
    return AccessDeniedError("The access rule refused the request.")

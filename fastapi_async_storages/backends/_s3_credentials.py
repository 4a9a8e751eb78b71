"""A session of the SDK whose credentials fail with an error of the SDK, whatever their source does.

The sources of the AWS chain are programs, files and other services, and each raises what it likes
when something is wrong with it: a ``FileNotFoundError`` of a missing program, or a 404 of AWS
single sign-on, would look like a missing file.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from aiobotocore.session import AioSession
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    ParamValidationError,
)

from fastapi_async_storages.completion import run_in_thread

__all__ = ["Session"]


class Session(AioSession):
    """A session that tells credentials that cannot be loaded from what is wrong with a file."""

    _credentials: Any

    async def get_credentials(self) -> Any:  # type: ignore[override]  # As in the SDK's own.
        """Return the credentials, if there are any.

        Raises:
            CredentialRetrievalError: When their source fails.
        """
        if self._credentials is None:
            with _report_failures():
                loaded = await _run_in_thread(super().get_credentials())
            if isinstance(loaded, RefreshableCredentials):
                self._credentials = _TemporaryCredentials(loaded)
        return self._credentials


class _TemporaryCredentials:
    """Credentials of the SDK that it fetches again before they expire, which may fail too."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials
        credentials._refresh_using = partial(_fetch, credentials._refresh_using)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._credentials, name)

    async def get_frozen_credentials(self) -> Any:
        """Return what a request is signed with.

        Raises:
            CredentialRetrievalError: When their source fails, or gives some that have expired.
        """
        with _report_failures():
            return await self._credentials.get_frozen_credentials()


async def _fetch(source: Callable[[], Any]) -> Any:
    with _report_failures():  # Here too: the SDK logs what it gets.
        fetched = source()
        return await _run_in_thread(fetched) if isinstance(fetched, Coroutine) else fetched


async def _run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that reads a source in an event loop of its own.

    Sources are files and new processes, which block in spite of being awaited.
    """
    return await run_in_thread(asyncio.run, coroutine)


@contextmanager
def _report_failures() -> Iterator[None]:
    try:
        yield
    except CredentialRetrievalError as error:
        details = error.kwargs  # Its text is what a program has printed as its error.
        cause = details.get("cause") or details.get("provider", "")
    except ParamValidationError as error:  # It would pass for a wrong name of the bucket.
        cause = _describe(error)
    except BotoCoreError:
        raise
    except Exception as error:  # noqa: BLE001 - There is no list of what sources raise.
        cause = _describe(error)
    else:
        return
    # Without the error itself, since logs show what it was caused by.
    failure = CredentialRetrievalError(provider="the AWS chain", error_msg=cause, cause=cause)
    raise failure from None


def _describe(error: Exception) -> str:
    """Say what went wrong in words that are not the source's: those may have the secret in them."""
    parts = [type(error).__name__]
    if isinstance(error, ClientError):
        parts.append(error.response.get("Error", {}).get("Code", ""))
    if isinstance(error, OSError) and error.strerror:
        parts.append(error.strerror)
    return ": ".join(parts)

"""The life of the storages: opened before the app takes its first request, closed after its last.

The storages travel in the state of the ASGI lifespan, which the server hands to each request. So
they reach mounted sub-apps too, whose own lifespan never runs, and two apps in one process never
see each other's.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias
from weakref import WeakSet

from fastapi import FastAPI

from fastapi_async_storages.clients import CLEAN_UP_SECONDS
from fastapi_async_storages.completion import wait_for_cancelled_tasks
from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.registry import Storages
from fastapi_async_storages.storage import Storage

__all__ = ["STATE_KEY", "storage_lifespan"]

STATE_KEY = "storages"
"""Where the :class:`Storages` are in the lifespan state: ``request.state.storages``."""

DEFAULT_GRACE = 10
"""Seconds that uploads of no request may take to finish when the app stops.

Source: ours; with the time for cleaning up it fits in the 30 seconds that Kubernetes leaves an app
(``terminationGracePeriodSeconds``).
"""

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""What ``FastAPI(lifespan=...)`` takes: called with the app, yields state or nothing."""


def storage_lifespan(
    storages: Storages | Storage,
    inner: Lifespan | None = None,
    *,
    check: bool = False,
    grace: float = DEFAULT_GRACE,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return a lifespan that opens the storages when the app starts and closes them when it stops.

    Use it as it is, ``FastAPI(lifespan=storage_lifespan(storages))``, or inside your own lifespan,
    whose state takes in that of the storages::

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
            async with storage_lifespan(storages)(app) as state:
                yield {"started_at": datetime.now(UTC), **state}

    An app can be started several times in turn, as test suites do. Its OpenAPI schema shows the
    bodies of streamed uploads from then on (see :func:`describe_uploads`).

    Args:
        storages: The storages of the app, or its only one.
        inner: The app's own lifespan. It runs while the storages are open, and its state is merged
            with theirs.
        check: Find out at the start whether the storages can work (see :meth:`Storage.check`), so
            that a wrong key or a missing bucket stops the app, not its first user.
        grace: Seconds that uploads, copies and moves of the app's own tasks may take to finish when
            it stops. Then they are ended, and nothing is left of them. Those of requests get their
            time from the server: ``uvicorn --timeout-graceful-shutdown``.

    Raises:
        ConfigurationError: When ``inner`` is not a context manager.
        StorageError: At the start of the app, when a storage cannot be opened or fails its check.
            Everything that was opened before is closed then.
    """
    registry = storages if isinstance(storages, Storages) else Storages(storages)
    if inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner):
        raise ConfigurationError(
            f"The lifespan {inner.__name__} is a bare generator function; decorate it with"
            " @contextlib.asynccontextmanager."
        )

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        if isinstance(app, FastAPI):
            # With all of the forms: what only imports the app, such as a migration, needs none.
            from fastapi_async_storages.openapi import describe_uploads  # noqa: PLC0415

            describe_uploads(app)
        # The tasks of the server itself. hypercorn cancels one of them to stop, and it ends only
        # after this lifespan.
        servers = WeakSet(asyncio.all_tasks())
        async with registry:
            if check:
                await registry.check()
            async with (inner or _no_lifespan)(app) as state:
                try:
                    yield _merge(state or {}, registry)
                finally:
                    # uvicorn cancels the requests that are still running and goes on at once. What
                    # they clean up (an open multipart upload, a file of a failed request) needs
                    # the storages.
                    await wait_for_cancelled_tasks(CLEAN_UP_SECONDS, but=servers)
            await registry.drain(grace)

    return lifespan


@asynccontextmanager
async def _no_lifespan(app: Any) -> AsyncIterator[None]:
    yield


def _merge(state: Mapping[str, Any], registry: Storages) -> dict[str, Any]:
    if STATE_KEY in state:
        raise ConfigurationError(
            f"The app's own lifespan has state named {STATE_KEY!r} too, which storage_lifespan"
            " needs for the storages; give yours another name."
        )
    return {**state, STATE_KEY: registry}

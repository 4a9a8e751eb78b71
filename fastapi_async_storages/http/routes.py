"""Routes that answer the errors of storages as problems, whether or not the app has handlers."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from fastapi_async_storages.exceptions import StorageError
from fastapi_async_storages.http.problems import problem_response

__all__ = ["PlainRoute", "ProblemRoute", "answer_problems", "app_handles"]

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


class ProblemRoute(APIRoute):
    """A route whose dependencies and endpoint may raise a :class:`StorageError`.

    A router is complete with it: an app that does not call ``add_problem_handlers`` gets no 500 for
    a missing file.
    """

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler with the errors answered."""
        return answer_problems(super().get_route_handler())


class PlainRoute(ProblemRoute):
    """A route in front of another one with the same path, for requests that say nothing but it.

    FastAPI takes 20 us and more for each parameter and each dependency. Where they all have the
    values that an endpoint knows by itself, because the request has no query and the app overrides
    no dependency, this route answers; the one behind it takes all other requests, and describes
    both. The overrides are those of the app that serves the request: mount apps, not their routers.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Pass on what needs the other route."""
        if scope.get("query_string") or getattr(scope.get("app"), "dependency_overrides", None):
            return Match.NONE, {}
        return super().matches(scope)


def answer_problems(handle: Handler) -> Handler:
    """Return a handler that answers each :class:`StorageError`, unless the app does that itself.

    Args:
        handle: The handler of a route.
    """

    async def handle_with_problems(request: Request) -> Response:
        try:
            return await handle(request)
        except StorageError as error:
            if app_handles(error, request.scope):
                raise
            return problem_response(error, method=request.method)

    return handle_with_problems


def app_handles(error: StorageError, scope: Scope) -> bool:
    """Tell whether the app has a handler of its own for such an error.

    Args:
        error: The error.
        scope: The scope of the request.
    """
    handlers = scope["app"].exception_handlers if "app" in scope else {}
    return any(cls in handlers for cls in type(error).__mro__ if issubclass(cls, StorageError))

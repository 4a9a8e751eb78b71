"""Functions of the app that FastAPI calls with what they ask for, and with the file at hand."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from starlette.requests import Request

from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.files import StorageFile

__all__ = ["inject"]


def inject(
    function: Callable[..., Any], get_file: Callable[..., Any] | None
) -> Callable[..., Awaitable[object]]:
    """Return a function of the app, sync or async, as a dependency that may ask for the file.

    Args:
        function: A FastAPI dependency with one more parameter, ``file: StorageFile``, if it wants.
        get_file: The dependency that returns the file; ``None`` when there is no file yet.

    Raises:
        ConfigurationError: When the function asks for a file, and there is none; or when it is a
            generator.
    """
    parameters = [
        _adapt(parameter, function, get_file)
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    _refuse_generator(function)

    async def call(**arguments: Any) -> object:
        return await _call(function, arguments)

    # FastAPI reads here what the function asks for.
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _refuse_generator(function: Callable[..., Any]) -> None:
    """Raise when calling a function runs nothing of its body, which would go unnoticed."""
    for called in (function, type(function).__call__):
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise ConfigurationError(
                f"{function!r} is a generator, of which nothing would run. Return instead of"
                " yield; what has to be cleaned up belongs in a dependency with yield, which the"
                " function asks for with Depends()."
            )


def _adapt(
    parameter: inspect.Parameter,
    function: Callable[..., Any],
    get_file: Callable[..., Any] | None,
) -> inspect.Parameter:
    annotation = parameter.annotation
    is_untyped = annotation is parameter.empty or annotation is Any
    if annotation is StorageFile or (is_untyped and parameter.name == "file"):
        if get_file is None:
            raise ConfigurationError(
                f"{function!r} asks for a file, and is called where there is none yet."
            )
        annotation = Annotated[StorageFile, Depends(get_file)]
    elif annotation is parameter.empty and parameter.name == "request":
        annotation = Request
    return parameter.replace(annotation=annotation, kind=parameter.KEYWORD_ONLY)


async def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> object:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object may have an async __call__
    ):
        result: object = function(**arguments)
    else:
        result = await run_in_threadpool(function, **arguments)
    return await result if inspect.isawaitable(result) else result

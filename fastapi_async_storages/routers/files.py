"""A router that serves the files of a storage: from the socket to the bucket and back.

    app.include_router(create_files_router(access=signed_urls), prefix="/files")

Who may read is a decision that has no default. All else is safe for files that strangers uploaded.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_args

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from fastapi_async_storages.dependencies import named_storage
from fastapi_async_storages.dispositions import Disposition
from fastapi_async_storages.exceptions import ConfigurationError, NotFoundError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.access import (
    AccessRule,
    Denial,
    make_access_dependency,
    public,
    signed_urls,
)
from fastapi_async_storages.http.headers import (
    CrossOriginResourcePolicy,
    FileHeaders,
    choose_filename,
)
from fastapi_async_storages.http.offload import Offload, offload_response
from fastapi_async_storages.http.openapi import describe_file_responses
from fastapi_async_storages.http.redirects import Redirects, RedirectStatus
from fastapi_async_storages.http.responses import StorageFileResponse
from fastapi_async_storages.http.routes import PlainRoute, ProblemRoute
from fastapi_async_storages.links import Link
from fastapi_async_storages.registry import DEFAULT
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.pending_names import is_pending

__all__ = ["Mode", "create_files_router"]

Mode: TypeAlias = Literal["auto", "proxy", "redirect"]
"""How files travel: through the app, or from the storage itself."""


def create_files_router(
    *,
    access: AccessRule,
    storage: str | None = None,
    mode: Mode = "auto",
    denial: Denial = "forbidden",
    disposition: Disposition = "inline",
    scriptable_types: Sequence[str] = (),
    cache_control: str | None = None,
    content_security_policy: str | None = None,
    cross_origin_resource_policy: CrossOriginResourcePolicy | None = None,
    redirect_status: RedirectStatus = 307,
    redirect_expires_in: int = 3600,
    offload: Offload | None = None,
) -> APIRouter:
    """Return a router with ``GET`` and ``HEAD`` of ``/{name}``, to be included with a prefix.

    Args:
        access: Who may have which file; there is no default, so that it is somebody's decision.
            :func:`public`, :func:`signed_urls`, or an own :data:`AccessRule`.
        storage: Which storage of the app, as in ``Storages(default=..., avatars=...)``; the default
            one when not given.
        mode: ``"proxy"`` streams through the app; ``"redirect"`` answers with a presigned URL of
            the storage; ``"auto"`` redirects where the storage can presign. ``HEAD`` is always
            answered here: a URL that is presigned for ``GET`` refuses it.
        denial: Whether a client that may not have a file hears ``"forbidden"`` (403) or the same
            as of a ``"missing"`` one (404).
        disposition: Whether a browser shows a file or saves it; a link or ``?download=1`` (save)
            and ``?download=0`` (show) change it for one request.
        scriptable_types: Media types (and ranges such as ``"image/*"``) to be served as they are
            although browsers run script in them. All other HTML, SVG, XML and scripts are saved as
            ``application/octet-stream``.
        cache_control: ``Cache-Control`` of the files that were stored without one. By default a
            file with a unique name is kept for a year and any other is asked for again each time;
            under a rule of your own every file is, so that the rule is.
        content_security_policy: Instead of the policies that fit what browsers show.
        cross_origin_resource_policy: Which sites may embed the files; all when not given.
        redirect_status: 307, or 302 for clients that know no better.
        redirect_expires_in: Seconds that the URL of a redirect works, at least 60.
        offload: The web server in front sends the files of a :class:`LocalStorage`, as
            :class:`XAccelRedirect` or :class:`XSendfile` says.

    Raises:
        ValueError: When ``redirect_expires_in`` is too short, or another option is none of those
            above.
    """
    _check_option("mode", mode, Mode)
    _check_option("denial", denial, Denial)
    _check_option("redirect_status", redirect_status, RedirectStatus)
    presentation = FileHeaders(
        disposition=disposition,
        scriptable_types=tuple(scriptable_types),
        cache_control=cache_control,
        shared=access is public,
        keeps_unique_names=access in (public, signed_urls),
        content_security_policy=content_security_policy,
        cross_origin_resource_policy=cross_origin_resource_policy,
    )
    delivery = _Delivery(
        mode,
        presentation,
        Redirects(presentation, expires_in=redirect_expires_in, status=redirect_status),
        offload,
    )
    name = route_name(storage, signed=access is signed_urls)
    router = APIRouter(route_class=ProblemRoute)
    if access is public:
        _add_plain_route(router, storage, delivery, name)
    for method in ("GET", "HEAD"):
        always_redirects = method == "GET" and mode == "redirect"
        router.add_api_route(
            "/{name:path}",
            _make_endpoint(storage, access, denial, delivery),
            methods=[method],
            name=name,
            summary="Read a file" if method == "GET" else "Read the headers of a file",
            response_class=Response,
            status_code=redirect_status if always_redirects else None,
            responses=describe_file_responses(
                method,
                proxies=mode != "redirect",
                redirect_status=None if mode == "proxy" else redirect_status,
                denials=_list_denials(access, denial),
            ),
        )
    return router


def route_name(storage_name: str | None, *, signed: bool = False) -> str:
    """Return the name of the routes that serve a storage, for ``url_for``.

    Args:
        storage_name: Which storage of the app; the default one when not given.
        signed: Whether they serve signed links only, which ``url_for`` could not make.
    """
    return f"{'signed-' if signed else ''}files:{storage_name or DEFAULT}"


@dataclass(frozen=True, slots=True)
class _Delivery:
    """How one route answers for a file that the client may have."""

    mode: Mode
    presentation: FileHeaders
    redirects: Redirects
    offload: Offload | None

    async def respond(
        self,
        method: str,
        file: StorageFile,
        *,
        disposition: Disposition | None,
        filename: str | None,
    ) -> Response:
        if method == "GET" and self._redirects(file.storage):
            return await self.redirects.redirect(file, disposition=disposition, filename=filename)
        if self.offload is not None:
            return await offload_response(
                self.offload,
                file,
                presentation=self.presentation,
                disposition=disposition,
                filename=filename,
            )
        return StorageFileResponse(
            file, presentation=self.presentation, disposition=disposition, filename=filename
        )

    def _redirects(self, storage: Storage) -> bool:
        if self.mode == "redirect" and not storage.presigns:
            raise ConfigurationError(
                f"{storage!r} does not presign URLs to redirect to: use mode='proxy'.",
                storage=repr(storage),
            )
        return self.mode != "proxy" and storage.presigns


def _make_endpoint(
    storage_name: str | None, access: AccessRule, denial: Denial, delivery: _Delivery
) -> Callable[..., Awaitable[Response]]:
    async def get_file(
        name: Annotated[str, Path(description="Name of the file in the storage.")],
        storage: Annotated[Storage, Depends(named_storage(storage_name or DEFAULT))],
    ) -> StorageFile:
        return _find_file(storage, name)

    get_link = make_access_dependency(access, get_file, denial=denial)

    async def read_file(
        request: Request,
        file: Annotated[StorageFile, Depends(get_file)],
        link: Annotated[Link, Depends(get_link)],
        download: Annotated[bool | None, Query(description="Save the file, or show it.")] = None,
        filename: Annotated[str | None, Query(description="Name to save the file as.")] = None,
    ) -> Response:
        name = link.filename or choose_filename(file.name, filename)
        disposition = link.disposition or _to_disposition(download)
        if disposition is None and name is not None:
            disposition = "attachment"  # A name is for saving, so a name alone says that; as on S3.
        return await delivery.respond(request.method, file, disposition=disposition, filename=name)

    return read_file


def _add_plain_route(
    router: APIRouter, storage_name: str | None, delivery: _Delivery, name: str
) -> None:
    """Add the route for most requests, which need nothing that FastAPI would have to solve."""
    get_any_storage = named_storage(storage_name or DEFAULT)

    async def read_plain_file(request: Request) -> Response:
        file = _find_file(await get_any_storage(request), request.path_params["name"])
        return await delivery.respond(request.method, file, disposition=None, filename=None)

    router.add_api_route(
        "/{name:path}",
        read_plain_file,
        methods=["GET"],
        name=name,
        include_in_schema=False,
        route_class_override=PlainRoute,
    )


def _find_file(storage: Storage, name: str) -> StorageFile:
    file = StorageFile(storage, name)
    if is_pending(file.name):
        # Who has uploaded it knows its name, and could have others open what nobody checked.
        raise NotFoundError(f"{file.name!a} is not verified yet.", name=file.name)
    return file


def _check_option(name: str, value: object, allowed: Any) -> None:
    if value not in get_args(allowed):
        raise ValueError(f"{name} must be one of {get_args(allowed)}, not {value!r}.")


def _list_denials(access: AccessRule, denial: Denial) -> tuple[int, ...]:
    if access is public or denial == "missing":
        return ()
    return (403, 410) if access is signed_urls else (403,)


def _to_disposition(download: bool | None) -> Disposition | None:
    if download is None:
        return None
    return "attachment" if download else "inline"

"""The routes of direct uploads: announce, send, complete, abort."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Body, Depends, Query
from starlette.datastructures import URLPath
from starlette.requests import Request

from fastapi_async_storages.dependencies import named_storage
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.injection import inject
from fastapi_async_storages.http.problems import problem_responses
from fastapi_async_storages.http.refusals import Refusals
from fastapi_async_storages.presigned import PresignedForm
from fastapi_async_storages.routers.json_routes import JsonRoute
from fastapi_async_storages.routers.upload_schemas import (
    AnnouncedFile,
    BodyUpload,
    FormUpload,
    PartsUpload,
    TicketIn,
    UploadPart,
)
from fastapi_async_storages.signing import SecretKey
from fastapi_async_storages.storage import DEFAULT_CONTENT_TYPE, Storage
from fastapi_async_storages.uploads.bodies import get_content_length, read_body
from fastapi_async_storages.uploads.channels import PlannedUpload
from fastapi_async_storages.uploads.direct import AnnouncedUpload, DirectUploads
from fastapi_async_storages.uploads.tickets import TicketOffice, find_secret_key

__all__ = ["PATH", "DirectRoutes"]

PATH = "/direct"
"""Where the routes are in their router."""

Dependency: TypeAlias = Callable[..., Any]

PathFinder: TypeAlias = Callable[[Request], str]
"""Returns the path of :data:`PATH` in the app of a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectRoutes:
    """The routes of direct uploads of one router.

    Attributes:
        uploads: What they do.
        storage_name: Which storage of the app.
        check_access: The dependency that lets only some clients upload.
        get_user: The dependency that tells whose tickets are meant.
        on_stored: Is called with each file.
        secret_key: Key that signs the tickets; the one of the storage when not given.
    """

    uploads: DirectUploads
    storage_name: str
    check_access: Dependency
    get_user: Dependency
    on_stored: Dependency
    secret_key: SecretKey | None

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to a router.

        Args:
            router: Which router.
        """
        get_storage = named_storage(self.storage_name)
        get_office = self._make_office_dependency(get_storage, _get_path)
        guard = [Depends(self.check_access)]
        router.add_api_route(
            PATH,
            self._make_announce(get_storage, get_office),
            methods=["POST"],
            route_class_override=JsonRoute,
            summary="Announce an upload",
            responses=problem_responses(400, 403, 408, 413, 415, 422, 502, 503),
            dependencies=guard,
        )
        router.put(
            PATH,
            status_code=204,
            summary="Send the bytes of an upload",
            responses=problem_responses(400, 403, 408, 410, 413, 415, 422, 502, 503),
            openapi_extra={"requestBody": _BODY},
        )(self._make_receive(get_storage))
        router.add_api_route(
            f"{PATH}/complete",
            self._make_complete(),
            methods=["POST"],
            route_class_override=JsonRoute,
            status_code=201,
            summary="Verify an upload and keep it",
            responses=problem_responses(400, 403, 404, 408, 410, 412, 413, 415, 422, 502, 503),
            dependencies=guard,
        )
        router.add_api_route(
            f"{PATH}/abort",
            self._make_abort(get_storage, get_office),
            methods=["POST"],
            route_class_override=JsonRoute,
            status_code=204,
            summary="Throw an upload away",
            responses=problem_responses(400, 403, 408, 410, 413, 422, 502, 503),
            dependencies=guard,
        )

    def make_completion(self, get_ticket: Dependency, find_path: PathFinder) -> Any:
        """Return the dependency that verifies the upload of a ticket, and gives the file.

        Args:
            get_ticket: The dependency that returns the ticket, or ``None`` when there is none.
            find_path: Tells where the ticket must have been issued.
        """
        get_storage = named_storage(self.storage_name)
        get_office = self._make_office_dependency(get_storage, find_path)

        async def complete_ticket(
            _: Annotated[object, Depends(self.check_access)],
            ticket: Annotated[str | None, Depends(get_ticket)],
            storage: Annotated[Storage, Depends(get_storage)],
            office: Annotated[TicketOffice, Depends(get_office)],
            __: Annotated[None, Depends(_REFUSALS)],
        ) -> AsyncIterator[StorageFile | None]:
            if ticket is None:
                yield None
                return
            async with self.uploads.completing(storage, office.verify(ticket)) as file:
                yield file

        # This scope ends before the answer is sent, and what the app raises is raised in it.
        return Depends(complete_ticket, scope="function")

    def _make_office_dependency(self, get_storage: Dependency, find_path: PathFinder) -> Dependency:
        async def get_office(
            request: Request,
            storage: Annotated[Storage, Depends(get_storage)],
            user: Annotated[Any, Depends(self.get_user)],
        ) -> TicketOffice:
            user = "" if user is None else str(user)
            return self._open_office(find_path(request), storage, user)

        return get_office

    def _open_office(self, path: str, storage: Storage, user: str = "") -> TicketOffice:
        return TicketOffice(
            find_secret_key(storage, self.secret_key),
            place=f"{self.storage_name}\n{path}",
            user=user,
        )

    def _make_announce(self, get_storage: Dependency, get_office: Dependency) -> Dependency:
        async def announce_upload(
            request: Request,
            file: Annotated[AnnouncedFile, Body()],
            storage: Annotated[Storage, Depends(get_storage)],
            office: Annotated[TicketOffice, Depends(get_office)],
        ) -> FormUpload | BodyUpload | PartsUpload:
            announced = AnnouncedUpload(**file.model_dump())
            return _describe(await self.uploads.plan(storage, announced), office, request)

        return announce_upload

    def _make_receive(self, get_storage: Dependency) -> Dependency:
        # Whoever has the URL may send the bytes, as with one that S3 has signed.
        async def receive_upload(
            request: Request,
            token: Annotated[str, Query(description="Part of the URL that was answered.")],
            storage: Annotated[Storage, Depends(get_storage)],
        ) -> None:
            ticket = self._open_office(_get_path(request), storage).verify_url(token)
            async with aclosing(read_body(request)) as chunks:
                await self.uploads.receive(
                    storage,
                    ticket,
                    chunks,
                    content_type=request.headers.get("content-type"),
                    size=get_content_length(request),
                )

        return receive_upload

    def _make_complete(self) -> Dependency:
        completed = self.make_completion(_get_ticket, _get_path)

        async def get_file(file: Annotated[StorageFile, completed]) -> StorageFile:
            return file

        async def complete_upload(
            file: Annotated[StorageFile, Depends(get_file)],
            _: Annotated[object, Depends(inject(self.on_stored, get_file))],
        ) -> StorageFile:
            return file

        return complete_upload

    def _make_abort(self, get_storage: Dependency, get_office: Dependency) -> Dependency:
        async def abort_upload(
            body: Annotated[TicketIn, Body()],
            storage: Annotated[Storage, Depends(get_storage)],
            office: Annotated[TicketOffice, Depends(get_office)],
        ) -> None:
            await self.uploads.abort(storage, office.verify(body.ticket))

        return abort_upload


async def _get_ticket(body: Annotated[TicketIn, Body()]) -> str:
    return body.ticket


def _describe(
    planned: PlannedUpload, office: TicketOffice, request: Request
) -> FormUpload | BodyUpload | PartsUpload:
    ticket, presigned = planned.ticket, planned.presigned
    common: dict[str, Any] = {
        "ticket": office.sign(ticket),
        "expires_at": datetime.fromtimestamp(ticket.expires_at, UTC),
        "complete_url": _make_url(request, "/complete"),
        "abort_url": _make_url(request, "/abort"),
    }
    if presigned is None:
        url = _make_url(request, "", token=office.sign_url(ticket))
        return BodyUpload(url=url, headers={"Content-Type": ticket.content_type}, **common)
    if isinstance(presigned, PresignedForm):
        return FormUpload(url=presigned.url, fields=dict(presigned.fields), **common)
    parts = [
        UploadPart(number=part.number, url=part.url, size=part.size) for part in presigned.parts
    ]
    return PartsUpload(parts=parts, **common)


def _make_url(request: Request, suffix: str, **parameters: str) -> str:
    """Return the URL of another route of the same router, as the client reaches it."""
    url = URLPath(_get_path(request) + suffix).make_absolute_url(request.base_url)
    return str(url.include_query_params(**parameters) if parameters else url)


def _get_path(request: Request) -> str:
    """Return the path of :data:`PATH` in the app, which tells a router from all others."""
    scope = request.scope
    root_path = scope.get("app_root_path", scope.get("root_path", ""))
    path: str = scope["path"]
    if path.startswith(f"{root_path}/"):
        path = path.removeprefix(root_path)
    return path[: path.rindex(PATH) + len(PATH)]


_REFUSALS = Refusals((403, 404, 410, 412, 413, 415, 422))

_BODY = {
    "required": True,
    "content": {DEFAULT_CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
}

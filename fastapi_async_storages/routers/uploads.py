"""A router for uploads: direct ones, from the browser to the bucket, and plain ones.

    rules = UploadRules(max_size="2GiB", types=["video/*"])
    app.include_router(create_uploads_router(rules=rules, access=is_author), prefix="/uploads")

A front end is written once, whatever the storage is::

    POST /uploads/direct            {filename, size, content_type} -> where and how to send the file
    POST or PUT where that said     the bytes, to S3 or to this router
    POST /uploads/direct/complete   {ticket} -> the file, verified

An endpoint of the app can take the ticket instead: :meth:`UploadsRouter.completed`.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.routing import iter_route_contexts
from starlette.requests import Request

from fastapi_async_storages.dependencies import named_storage
from fastapi_async_storages.exceptions import ConfigurationError, NotFoundError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.http.access import (
    AccessRule,
    make_access_dependency,
    public,
    signed_urls,
)
from fastapi_async_storages.http.injection import inject
from fastapi_async_storages.http.problems import problem_responses
from fastapi_async_storages.http.routes import ProblemRoute
from fastapi_async_storages.keys import normalize_prefix
from fastapi_async_storages.registry import DEFAULT
from fastapi_async_storages.routers.direct_uploads import PATH, DirectRoutes
from fastapi_async_storages.signing import SecretKey, TokenSigner
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.streamed_forms import StreamedUpload
from fastapi_async_storages.uploads.direct import DirectUploads
from fastapi_async_storages.uploads.pending_names import is_pending
from fastapi_async_storages.uploads.rules import UploadRules

__all__ = ["UploadsRouter", "create_uploads_router"]


class UploadsRouter(APIRouter):
    """A router for uploads, whose tickets other endpoints of the app can take.

    :func:`create_uploads_router` makes it.

    Args:
        direct: Its routes of direct uploads.
    """

    def __init__(self, direct: DirectRoutes) -> None:
        super().__init__(route_class=ProblemRoute)
        self._direct = direct
        direct.add_to(self)
        self._direct_routes = [*self.routes]

    def completed(self, get_ticket: Callable[..., Any]) -> Any:
        """Declare the file of a ticket in a request, as a dependency of an endpoint.

        ::

            uploads = create_uploads_router(rules=rules, access=is_author, user=get_user)
            app.include_router(uploads, prefix="/uploads")

            async def get_ticket(document: DocumentIn) -> str:
                return document.ticket

            @app.post("/documents")
            async def create(
                document: DocumentIn, file: Annotated[StorageFile, uploads.completed(get_ticket)]
            ) -> DocumentOut: ...

        The client sends the ticket here, and not to ``complete_url``. What holds there, holds here:
        the router's ``access`` and ``user`` are asked, the rules are applied, and a ticket works
        once, as long as its file is there. But ``on_stored`` is not called: the endpoint is what
        makes the row.

        The file is fresh: when the endpoint raises, or a later dependency, or the response does
        not validate, it is deleted again before the answer is sent, unless a tracked SQLAlchemy
        flush has taken it over. The client must upload it anew then.

        FastAPI validates the body before: a wrong one costs no upload. It validates it for the
        endpoint as well, and tells an error twice; ask for it by the same parameter name in both,
        such as ``document``, or there are two bodies. Path and query it validates later.

        The errors are answered as problems by :func:`add_problem_handlers`.

        Args:
            get_ticket: A FastAPI dependency that returns the ticket. It may return ``None``, and
                the endpoint gets ``None`` then.
        """
        return self._direct.make_completion(get_ticket, self._find_path)

    def _find_path(self, request: Request) -> str:
        """Return where the tickets of this router were issued, from elsewhere in the same app.

        Raises:
            ConfigurationError: When it is not there, or more than once.
        """
        paths = {
            context.path_format or ""
            for context in iter_route_contexts(request.app.routes)
            if context.original_route in self._direct_routes
        }
        paths = {path for path in paths if path.endswith(PATH)}
        if len(paths) != 1:
            raise ConfigurationError(
                f"The app of {request.url.path} includes the uploads router whose tickets it takes"
                f" at {sorted(paths) or 'no path'}: include it once, in this app."
            )
        scope = request.scope
        # Of a mounted app: the tickets are signed for the path that the outermost app knows.
        root_path = scope.get("root_path", "")
        mounted_at = root_path.removeprefix(scope.get("app_root_path", root_path))
        try:
            path = paths.pop().format(**request.path_params)
        except KeyError as error:
            raise ConfigurationError(
                f"{request.url.path} has no path parameter {error}, which the uploads router has"
                " whose tickets it takes."
            ) from error
        return f"{mounted_at}{path}"


async def _nobody() -> None:
    return None


async def _ignore() -> None:
    return None


def create_uploads_router(
    *,
    access: AccessRule,
    rules: UploadRules,
    storage: str | None = None,
    prefix: str = "",
    on_stored: Callable[..., Any] | None = None,
    user: Callable[..., Any] | None = None,
    secret_key: SecretKey | None = None,
    expires_in: int = 3600,
    multipart_threshold: int | str = "100MiB",
    cache_control: str | None = None,
    form: bool = False,
    delete: AccessRule | None = None,
) -> UploadsRouter:
    """Return a router with direct uploads at ``/direct``, to be included with a prefix.

    An S3 storage takes the bytes itself: in a form whose policy allows this name, this size and
    this type, or in parts of fixed sizes. Other storages get them by a ``PUT`` to this router.
    Until they are complete they have a name under ``pending/``, which files routers do not serve;
    :func:`sweep_pending` deletes those that nobody completes. A bucket needs
    :meth:`S3Storage.allow_browser_uploads` once.

    Args:
        access: Who may upload; there is no default, so that it is somebody's decision.
            :func:`public`, or an own :data:`AccessRule`, which can ask for all but a file: there is
            none yet.
        rules: What is allowed. Of a direct upload they are applied when it is completed.
        storage: Which storage of the app; the default one when not given.
        prefix: Folder-like prefix of the stored names, such as ``"videos"``.
        on_stored: Is called with each file that was stored, before the answer: the place to make
            its row. A FastAPI dependency with one more parameter, ``file: StorageFile``. When it
            raises, or the answer fails, the file is deleted again, unless a tracked SQLAlchemy
            flush has taken it over.
        user: A FastAPI dependency that returns the id of the user who makes the request, so that
            nobody can complete or abort the upload of somebody else.
        secret_key: Key of at least 16 bytes that signs the tickets, or several for rotation: the
            first signs. When not given, that of the storage, if it has one; S3 has none.
        expires_in: Seconds in which an announced upload must be sent and completed, at most 7 days.
            Presigned URLs end with the temporary credentials that signed them, if that is earlier.
        multipart_threshold: Bytes from which a file goes to S3 in parts, as a number or such as
            ``"100MiB"``, at most 5 GiB. ``0`` for servers that know no POST policy, such as R2.
        cache_control: ``Cache-Control`` for the readers of the files.
        form: Whether there is a ``POST /`` too, which takes a form with one ``file``, or the file
            as the body, through the app.
        delete: Adds a ``DELETE /{name}``, for those files under ``prefix`` of which this rule says
            so. A client must pass ``access`` too.

    Raises:
        ConfigurationError: When the arguments cannot work together.
    """
    storage_name = DEFAULT if storage is None else storage
    if secret_key is not None:
        TokenSigner(secret_key, purpose="upload")  # Refuses a weak key now.
    check_access = make_access_dependency(access, None, denial="forbidden")
    router = UploadsRouter(
        DirectRoutes(
            uploads=DirectUploads(
                rules,
                prefix=prefix,
                cache_control=cache_control,
                expires_in=expires_in,
                multipart_threshold=multipart_threshold,
            ),
            storage_name=storage_name,
            check_access=check_access,
            get_user=user or _nobody,
            on_stored=on_stored or _ignore,
            secret_key=secret_key,
        )
    )
    if form:
        upload = StreamedUpload(
            "file", rules=rules, storage=storage_name, prefix=prefix, cache_control=cache_control
        )
        router.post(
            "/",
            status_code=201,
            summary="Upload a file through the app",
            responses=problem_responses(400, 403, 408, 413, 415, 422, 502, 503),
            dependencies=[Depends(check_access)],
        )(_make_create(upload.dependency, on_stored or _ignore))
    if delete is not None:
        _check_delete_rule(access, delete)
        router.delete(
            "/{name:path}",
            status_code=204,
            summary="Delete a file",
            responses=problem_responses(403, 404, 422, 502, 503),
            dependencies=[Depends(check_access)],
        )(_make_delete(storage_name, prefix, delete))
    return router


def _make_create(get_file: Callable[..., Any], on_stored: Callable[..., Any]) -> Callable[..., Any]:
    async def create_file(
        file: Annotated[StorageFile, Depends(get_file)],
        _: Annotated[object, Depends(inject(on_stored, get_file))],
    ) -> StorageFile:
        return file

    return create_file


def _make_delete(storage_name: str, prefix: str, rule: AccessRule) -> Callable[..., Any]:
    folder = normalize_prefix(prefix)

    async def get_file(
        name: Annotated[str, Path(description="Name of the file in the storage.")],
        storage: Annotated[Storage, Depends(named_storage(storage_name))],
    ) -> StorageFile:
        file = StorageFile(storage, name)
        if is_pending(file.name) or not file.name.startswith(folder):
            raise NotFoundError(f"{file.name!a} is not a file of this router.", name=file.name)
        return file

    check_rule = make_access_dependency(rule, get_file, denial="forbidden")

    async def delete_file(
        file: Annotated[StorageFile, Depends(get_file)],
        _: Annotated[object, Depends(check_rule)],
    ) -> None:
        await file.delete()

    return delete_file


def _check_delete_rule(access: AccessRule, delete: AccessRule) -> None:
    if delete is signed_urls:
        raise ConfigurationError("delete=signed_urls: a link to read a file must not delete it.")
    if delete is public and access is public:
        raise ConfigurationError("access=public and delete=public let everybody delete every file.")

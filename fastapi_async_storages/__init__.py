"""Files for FastAPI, asynchronous from the socket to the bucket.

Every public name can be imported from here, and loads on first use: importing this package loads
none of the extras, and next to nothing of the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi_async_storages.backends.local import LocalStorage as LocalStorage
    from fastapi_async_storages.backends.memory import MemoryStorage as MemoryStorage
    from fastapi_async_storages.backends.s3 import S3Storage as S3Storage
    from fastapi_async_storages.dependencies import NamedFile as NamedFile
    from fastapi_async_storages.dependencies import StorageDep as StorageDep
    from fastapi_async_storages.dependencies import get_storage as get_storage
    from fastapi_async_storages.dependencies import named_storage as named_storage
    from fastapi_async_storages.files import StorageFile as StorageFile
    from fastapi_async_storages.files import StorageImage as StorageImage
    from fastapi_async_storages.http.access import public as public
    from fastapi_async_storages.http.access import signed_urls as signed_urls
    from fastapi_async_storages.http.problems import add_problem_handlers as add_problem_handlers
    from fastapi_async_storages.http.responses import StorageFileResponse as StorageFileResponse
    from fastapi_async_storages.http.web_servers import XAccelRedirect as XAccelRedirect
    from fastapi_async_storages.http.web_servers import XSendfile as XSendfile
    from fastapi_async_storages.info import FileInfo as FileInfo
    from fastapi_async_storages.lifespan import storage_lifespan as storage_lifespan
    from fastapi_async_storages.openapi import describe_uploads as describe_uploads
    from fastapi_async_storages.preconditions import Preconditions as Preconditions
    from fastapi_async_storages.ranges import ByteRange as ByteRange
    from fastapi_async_storages.readers import FileReader as FileReader
    from fastapi_async_storages.registry import Storages as Storages
    from fastapi_async_storages.routers.files import create_files_router as create_files_router
    from fastapi_async_storages.routers.uploads import (
        create_uploads_router as create_uploads_router,
    )
    from fastapi_async_storages.routers.urls import file_url as file_url
    from fastapi_async_storages.schemas import FileOut as FileOut
    from fastapi_async_storages.schemas import file_out as file_out
    from fastapi_async_storages.schemas import files_out as files_out
    from fastapi_async_storages.settings import storage_from_url as storage_from_url
    from fastapi_async_storages.storage import Storage as Storage
    from fastapi_async_storages.streamed_forms import StreamedForm as StreamedForm
    from fastapi_async_storages.streamed_forms import StreamedUpload as StreamedUpload
    from fastapi_async_storages.uploads.multipart import FormLimits as FormLimits
    from fastapi_async_storages.uploads.pending_uploads import sweep_pending as sweep_pending
    from fastapi_async_storages.uploads.rules import ImageRules as ImageRules
    from fastapi_async_storages.uploads.rules import UploadRules as UploadRules
    from fastapi_async_storages.uploads.save import save_upload as save_upload
    from fastapi_async_storages.uploads.streaming import UploadedForm as UploadedForm

__version__ = "1.0.0.dev0"

_MODULES = {
    "ByteRange": "ranges",
    "FileInfo": "info",
    "FileOut": "schemas",
    "FileReader": "readers",
    "FormLimits": "uploads.multipart",
    "ImageRules": "uploads.rules",
    "LocalStorage": "backends.local",
    "MemoryStorage": "backends.memory",
    "NamedFile": "dependencies",
    "Preconditions": "preconditions",
    "S3Storage": "backends.s3",
    "Storage": "storage",
    "StorageDep": "dependencies",
    "StorageFile": "files",
    "StorageFileResponse": "http.responses",
    "StorageImage": "files",
    "Storages": "registry",
    "StreamedForm": "streamed_forms",
    "StreamedUpload": "streamed_forms",
    "UploadRules": "uploads.rules",
    "UploadedForm": "uploads.streaming",
    "XAccelRedirect": "http.web_servers",
    "XSendfile": "http.web_servers",
    "add_problem_handlers": "http.problems",
    "create_files_router": "routers.files",
    "create_uploads_router": "routers.uploads",
    "describe_uploads": "openapi",
    "file_out": "schemas",
    "file_url": "routers.urls",
    "files_out": "schemas",
    "get_storage": "dependencies",
    "named_storage": "dependencies",
    "public": "http.access",
    "save_upload": "uploads.save",
    "signed_urls": "http.access",
    "storage_from_url": "settings",
    "storage_lifespan": "lifespan",
    "sweep_pending": "uploads.pending_uploads",
}
"""Where each public name is."""

__all__ = ["__version__", *sorted(_MODULES)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names too."""
    return sorted({*globals(), *_MODULES})

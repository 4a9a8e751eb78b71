"""Files in SQLAlchemy models: a column holds the name, the attribute is a handle on the file."""

from fastapi_async_storages.exceptions import MissingDependencyError

try:
    import sqlalchemy as _sqlalchemy  # noqa: F401
except ModuleNotFoundError:
    raise MissingDependencyError(
        "FileType and ImageType need the extra 'sqlalchemy':"
        " pip install 'fastapi-async-storages[sqlalchemy]'"
    ) from None

from fastapi_async_storages.integrations.sqlalchemy.attachment_lists import (
    AttachmentList,
    AttachmentListType,
)
from fastapi_async_storages.integrations.sqlalchemy.attachments import AttachmentType
from fastapi_async_storages.integrations.sqlalchemy.column_types import Cleanup
from fastapi_async_storages.integrations.sqlalchemy.defects import Defect, verify
from fastapi_async_storages.integrations.sqlalchemy.lifecycle import track_files
from fastapi_async_storages.integrations.sqlalchemy.orphans import SweepReport, sweep
from fastapi_async_storages.integrations.sqlalchemy.types import FileType, ImageType

__all__ = [
    "AttachmentList",
    "AttachmentListType",
    "AttachmentType",
    "Cleanup",
    "Defect",
    "FileType",
    "ImageType",
    "SweepReport",
    "sweep",
    "track_files",
    "verify",
]

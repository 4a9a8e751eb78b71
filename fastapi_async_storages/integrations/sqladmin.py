"""Columns with files in the forms of SQLAdmin: upload, keep, replace, clear.

::

    admin = Admin(app, session_maker=track_files(async_sessionmaker(engine)))

    class DocumentAdmin(ModelView, model=Document):
        form_converter = FileModelConverter

The sessions must be tracked: they store what is uploaded, and delete what was replaced.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from starlette.datastructures import UploadFile

from fastapi_async_storages.exceptions import MissingDependencyError

try:
    from markupsafe import Markup
    from sqladmin.forms import ModelConverter, converts
    from sqladmin.widgets import FileInputWidget
    from wtforms import fields
except ModuleNotFoundError:
    raise MissingDependencyError(
        "FileModelConverter needs SQLAdmin: pip install sqladmin"
    ) from None

__all__ = ["FileField", "FileModelConverter"]

_TYPES = "fastapi_async_storages.integrations.sqlalchemy"


class _FileInput(FileInputWidget):
    def __call__(self, field: fields.Field, **kwargs: Any) -> Markup:
        """Render the chooser, and the name of the current file where there is one."""
        if isinstance(field.data, UploadFile):
            # The form comes back with an error, and a browser sends no file that it was not told to
            # send again. What was uploaded is not the current file.
            field.data = None
        return super().__call__(field, **kwargs)


class FileField(fields.FileField):  # type: ignore[misc]
    """The form field of a column with one file. Its data is what is assigned to the attribute.

    That is an ``UploadFile`` to be stored, the name of the current file when no other one was
    uploaded, or ``None``.
    """

    widget: ClassVar[Any] = _FileInput()
    data: Any
    raw_data: list[Any]

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take what SQLAdmin has made of the form's part."""
        upload = valuelist[0] if valuelist else None
        if not isinstance(upload, UploadFile):
            self.data = None
        elif isinstance(upload.file, AbstractAsyncContextManager):
            # SQLAdmin's stand-in for the current file when none was uploaded: made of `file.name`
            # and `file.open()`, which opens nothing until it is entered. No client can send one.
            self.data = upload.filename
        else:
            self.data = upload if upload.filename else None
        if self.data is None:
            # A browser sends an empty part where nothing was chosen; for InputRequired() that is
            # an input.
            self.raw_data = []


class FileModelConverter(ModelConverter):
    """Makes a :class:`FileField` of each column with one file, and SQLAdmin's fields of the others.

    A column with a list of files gets no field: SQLAdmin takes one file for each.
    """

    @converts(f"{_TYPES}.types.FileType", f"{_TYPES}.attachments.AttachmentType")  # type: ignore[untyped-decorator]
    def convert_file(self, model: type, prop: Any, kwargs: dict[str, Any]) -> Any:
        """Make the field of a column with one file."""
        return FileField(**kwargs)

    @converts(f"{_TYPES}.attachment_lists.AttachmentListType")  # type: ignore[untyped-decorator]
    def convert_list(self, model: type, prop: Any, kwargs: dict[str, Any]) -> None:
        """Leave out a column with a list of files."""

"""A column type that keeps all that is known about a file in the row, as JSON."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Dialect,
    Select,
    bindparam,
    cast,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from fastapi_async_storages.files import StorageFile, StorageImage
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.integrations.sqlalchemy.column_types import Cleanup, FileColumnType
from fastapi_async_storages.integrations.sqlalchemy.types import WHOLE_NAME_OPERATORS
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.rules import ImageRules, UploadRules

__all__ = ["JSON_TYPE", "AttachmentType", "FileRecord", "get_fact"]

JSON_TYPE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""What the database sees. Without a file the column is NULL, and not the null of JSON."""

FileRecord: TypeAlias = dict[str, Any]
"""What a row says of one file: its name and what is known about it, as JSON."""

_FACTS: Mapping[str, type] = {
    "name": str,
    "size": int,
    "content_type": str,
    "filename": str,
    "checksum": str,
    "width": int,
    "height": int,
    "cache_control": str,
    "metadata": dict,
}
"""Fields of :class:`FileInfo` that a row keeps, with their types in JSON.

Not the ETag and the time: those of a backup that was restored are others.
"""


class AttachmentType(FileColumnType[StorageFile]):
    """A JSON column with the name of a stored file and all that is known about it.

    Its values are handles as those of a :class:`FileType` column, whose ``info`` is complete
    without asking the storage: size, type, the client's file name, checksum and dimensions. On
    PostgreSQL the column is JSONB.

    ``Document.file["size"] > 10_000`` compares a fact: ``size``, ``width`` and ``height`` as
    numbers; ``name``, ``filename``, ``content_type``, ``checksum`` and ``cache_control`` as text;
    anything else as JSON. ``Document.file == "name"``, ``== handle``, ``like`` and the like compare
    the name.

    What is assigned must be known: a new upload is, a name is not. A tracked session asks the
    storage in the flush; for others, ``await file.get_info()`` first. Keys that another version of
    the app has written stay in the row, and a row may lack any but the name.

    Args:
        storage: Where the files are.
        image: Whether they are images; values are :class:`StorageImage` then.
        rules: What content is allowed; everything when not given, and every image of images.
        prefix: Folder-like prefix of the names under which content is stored.
        cleanup: What happens to files that rows no longer name.

    Raises:
        TypeError: When ``storage`` is none, or ``cleanup`` is nothing that can be done.
        InvalidNameError: When ``prefix`` could not be the start of a name.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = JSON_TYPE

    class Comparator(TypeDecorator.Comparator[Any], JSON.Comparator[Any]):
        """Compares facts of a file, and the name where nothing else is said."""

        __slots__ = ()

        def __getitem__(self, index: Any) -> ColumnElement[Any]:
            """Return a fact of the file."""
            return get_fact(self.expr, index)

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            """Compare the name with names and handles."""
            if other and _is_text(other[0]):
                names = _to_names(self.expr.type, op, other[0])
                return get_fact(self.expr, "name").operate(op, names, *other[1:], **kwargs)
            return super().operate(op, *other, **kwargs)

    comparator_factory: Any = Comparator

    def __init__(
        self,
        storage: Storage,
        *,
        image: bool = False,
        rules: UploadRules | None = None,
        prefix: str = "",
        cleanup: Cleanup = "delete",
    ) -> None:
        self.image = image
        if image:
            self._handle_class = StorageImage
            rules = rules or UploadRules(image=ImageRules())
        super().__init__(storage, rules=rules, prefix=prefix, cleanup=cleanup)

    def process_bind_param(self, value: object, dialect: Dialect) -> FileRecord | None:
        """Return what a row says of a file; see :meth:`to_stored` for errors.

        Raises:
            ValueError: When nothing is known about the file.
        """
        file = self.to_stored(value)
        return None if file is None else self.to_record(file)

    def process_result_value(self, value: object, dialect: Dialect) -> StorageFile | None:
        """Return a handle on the file of a record, without I/O."""
        return self.from_record(value)

    def to_record(self, file: StorageFile) -> FileRecord:
        """Return what a row says of a file.

        Args:
            file: A handle on it.

        Raises:
            ValueError: When nothing is known about it.
        """
        if self.needs_info(file):
            raise ValueError(
                f"{self!r} keeps what is known about a file, and nothing is known about"
                f" {file.name!a}: 'await file.get_info()' first, or flush in a session whose"
                " factory went through track_files()."
            )
        facts = {fact: getattr(file.info, fact, None) for fact in _FACTS} | {"name": file.name}
        known = {fact: value for fact, value in facts.items() if value not in (None, {})}
        return {**(file._record or {}), **known}

    def from_record(self, record: object) -> StorageFile | None:
        """Return a handle on the file of a record; ``None`` when it is none.

        Args:
            record: What a row says of a file. Facts of another type than ours are not used.
        """
        name = record.get("name") if isinstance(record, dict) else None
        if not isinstance(record, dict) or not isinstance(name, str) or not name:
            return None
        known = {key: value for key, value in record.items() if _is_fact(key, value)}
        info = FileInfo(**known) if "size" in known else None
        file = self._handle_class.from_stored(self.storage, name, info)
        file._record = record
        return file

    def needs_info(self, file: StorageFile) -> bool:
        """Tell whether a row could say no more of a file than its name.

        One that was loaded so may be stored so again.
        """
        return file.info is None and file._record is None

    def compare_values(self, x: Any, y: Any) -> bool:
        """Tell whether a value says the same as the one that was loaded.

        A new upload of the same name is another file. A handle that knows nothing may be of both.
        """
        if not isinstance(x, StorageFile) or not isinstance(y, StorageFile) or x != y:
            return bool(x == y)
        return self.needs_info(x) or self.to_record(x) == self.to_record(y)

    def select_names(self, column: ColumnElement[Any], dialect: Dialect) -> Select[str]:
        """Return a query for the names of all rows; see :meth:`FileColumnType.select_names`."""
        return select(get_fact(column, "name").label("name"))


def get_fact(record: ColumnElement[Any], key: Any) -> ColumnElement[Any]:
    """Return the expression of one fact of a file, of the type that it has.

    Args:
        record: A column, or another expression, that is a :data:`FileRecord`.
        key: Which fact.
    """
    kind = _FACTS.get(key) if isinstance(key, str) else None
    if isinstance(key, str):
        # SQLite uses an index on a fact only for a query with the key in its text.
        key = bindparam(None, key, type_=JSON.JSONStrIndexType(), literal_execute=True)
    fact = type_coerce(record, JSON_TYPE)[key]
    if kind is int:
        # Not as_integer(), whose 32 bits would be too few for a file of 2 GiB.
        return cast(fact.as_string(), BigInteger)
    return fact.as_string() if kind is str else fact


def _is_fact(key: str, value: object) -> bool:
    kind = _FACTS.get(key)
    return kind is not None and isinstance(value, kind)


def _is_text(other: object) -> bool:
    if isinstance(other, list | tuple | set | frozenset):
        return all(_is_text(item) for item in other)
    return isinstance(other, str | StorageFile)


def _to_names(column_type: TypeEngine[Any], op: Any, other: Any) -> Any:
    if isinstance(other, Iterable) and not isinstance(other, str | StorageFile):
        return [_to_names(column_type, op, item) for item in other]
    if op in WHOLE_NAME_OPERATORS and isinstance(column_type, FileColumnType):
        return str(column_type.to_handle(other))
    return str(other)

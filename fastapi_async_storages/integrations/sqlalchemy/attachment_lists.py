"""A column type for many files in one row, in an order of their own."""

from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Unicode,
    case,
    cast,
    event,
    func,
    inspect,
    select,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import InstanceState, Mapper, QueryableAttribute
from sqlalchemy.types import TypeDecorator, TypeEngine

from fastapi_async_storages.exceptions import ConfigurationError
from fastapi_async_storages.files import StorageFile
from fastapi_async_storages.integrations.sqlalchemy.attachments import (
    JSON_TYPE,
    AttachmentType,
    FileRecord,
    get_fact,
)
from fastapi_async_storages.integrations.sqlalchemy.column_types import (
    Cleanup,
    FileColumnType,
    is_sql,
)
from fastapi_async_storages.pending import PendingFile
from fastapi_async_storages.storage import Storage
from fastapi_async_storages.uploads.rules import UploadRules

__all__ = ["AttachmentList", "AttachmentListType"]


class AttachmentList(MutableList[StorageFile]):
    """The files of one row: a list whose changes the session notices.

    It takes what an attribute with one file takes: handles, names, content to be stored.

    Args:
        item_type: The type that a column with one such file would have.
        files: The files.
        column: How errors name the column.

    Raises:
        TypeError: When one is neither handle nor name nor content, as of all methods that add one.
        ValueError: When one is a handle on a file of another storage.
    """

    def __init__(
        self, item_type: AttachmentType, files: Iterable[Any] = (), *, column: str | None = None
    ) -> None:
        self._item_type = item_type
        self._column = column
        super().__init__(self._to_handle(file) for file in files)

    def append(self, x: Any) -> None:
        """Add a file at the end."""
        super().append(self._to_handle(x))

    def extend(self, x: Iterable[Any]) -> None:
        """Add files at the end."""
        super().extend([self._to_handle(file) for file in x])

    def insert(self, i: SupportsIndex, x: Any) -> None:
        """Add a file before another one."""
        super().insert(i, self._to_handle(x))

    def remove(self, i: Any) -> None:
        """Take out a file: a handle on it, or its name."""
        super().remove(self._to_handle(i))

    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        """Put a file, or files, in the place of others."""
        if isinstance(index, slice):
            super().__setitem__(index, [self._to_handle(file) for file in value])
        else:
            super().__setitem__(index, self._to_handle(value))

    def fill_in(self, stored: Mapping[PendingFile, StorageFile]) -> None:
        """Put handles in the place of contents that were stored, which is no change.

        Args:
            stored: The handle of each content.
        """
        for index, file in enumerate(self):
            handle = stored.get(file)  # type: ignore[call-overload]
            if handle is not None:
                list.__setitem__(self, index, self._to_handle(handle))

    @classmethod
    def coerce(cls, key: str, value: Any) -> Any:
        """Refuse what the type of the column has not made a list of."""
        if isinstance(value, cls):
            return value
        raise TypeError(f"{key} takes a list of files, not {value!r}.")

    def _to_handle(self, file: object) -> StorageFile:
        handle = self._item_type.to_handle(file, column=self._column)
        if handle is None:
            raise TypeError(f"{self._column or 'A list of files'} takes files, not None.")
        # For type checkers, content is the handle that it becomes; see StorageFile.pending().
        return handle  # type: ignore[return-value]


class AttachmentListType(FileColumnType[AttachmentList]):
    """A JSON column with the names of stored files, in their order, and all that is known of them.

    Its values are lists of handles (:class:`AttachmentList`), never ``None``: a new object has an
    empty one, and so has a row with NULL. Appending, removing and sorting are noticed by the
    session as an assignment is. Each file is kept as an :class:`AttachmentType` column keeps one,
    and ``Document.files[0]["size"] > 10_000`` compares a fact of the first one.

    On PostgreSQL the column is JSONB. Other databases than PostgreSQL and SQLite cannot be asked
    which files such a column names, so that neither ``track_files`` nor ``sweep`` works with it.

    Args:
        storage: Where the files are.
        image: Whether they are images; they are :class:`StorageImage` then.
        rules: What content is allowed; everything when not given, and every image of images.
        prefix: Folder-like prefix of the names under which content is stored.
        cleanup: What happens to files that rows no longer name.

    Raises:
        TypeError: When ``storage`` is none, or ``cleanup`` is nothing that can be done.
        InvalidNameError: When ``prefix`` could not be the start of a name.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = JSON_TYPE

    class Comparator(TypeDecorator.Comparator[Any], JSON.Comparator[Any]):
        """Finds the files by their place in the list."""

        __slots__ = ()

        def __getitem__(self, index: Any) -> ColumnElement[Any]:
            """Return a file of the list."""
            item_type = self.expr.type._item_type  # type: ignore[attr-defined]
            return type_coerce(type_coerce(self.expr, JSON_TYPE)[index], item_type)

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
        self._item_type = AttachmentType(
            storage, image=image, rules=rules, prefix=prefix, cleanup=cleanup
        )
        self._handle_class = self._item_type._handle_class
        self.image = image
        super().__init__(storage, rules=self._item_type.rules, prefix=prefix, cleanup=cleanup)

    def to_value(self, value: object, *, column: str | None = None) -> AttachmentList:
        """Return the list that an assigned value stands for; ``None`` is an empty one.

        Raises:
            TypeError: When it is no list, or one of something else than files.
            ValueError: When it has a handle on a file of another storage.
        """
        if value is None:
            value = ()
        if not isinstance(value, list | tuple):
            raise TypeError(
                f"{column or repr(self)} holds a list of files, not a {type(value).__name__}."
            )
        return AttachmentList(self._item_type, value, column=column)

    def is_value(self, value: object) -> bool:
        """Tell whether a value is a list that notices its changes, or an SQL expression."""
        return isinstance(value, AttachmentList) or is_sql(value)

    def files_in(self, value: object) -> tuple[StorageFile | PendingFile, ...]:
        """Return the files of a list; see :meth:`FileColumnType.files_in`."""
        if not isinstance(value, list | tuple):
            return ()
        return tuple(file for file in value if isinstance(file, StorageFile | PendingFile))

    def with_stored(self, value: Any, stored: Mapping[PendingFile, StorageFile]) -> Any:
        """Return the same list, with handles in the place of its contents."""
        value.fill_in(stored)
        return value

    def needs_info(self, file: StorageFile) -> bool:
        """Tell whether a row could say no more of a file than its name."""
        return self._item_type.needs_info(file)

    def process_bind_param(self, value: object, dialect: Dialect) -> list[FileRecord] | None:
        """Return what a row says of files; see :meth:`AttachmentType.process_bind_param`."""
        if value is None:
            return None
        records = (
            self._item_type.process_bind_param(file, dialect) for file in self.to_value(value)
        )
        return [record for record in records if record is not None]

    def process_result_value(self, value: object, dialect: Dialect) -> AttachmentList:
        """Return handles on the files of records, without I/O."""
        records = value if isinstance(value, list) else ()
        files = [self._item_type.from_record(record) for record in records]
        return AttachmentList(self._item_type, [file for file in files if file is not None])

    def compare_values(self, x: Any, y: Any) -> bool:
        """Tell whether two lists have the same files in the same order."""
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            return bool(x == y)
        return all(map(self._item_type.compare_values, x, y))

    def select_names(self, column: ColumnElement[Any], dialect: Dialect) -> Select[str]:
        """Return a query for the names of all rows; see :meth:`FileColumnType.select_names`.

        Raises:
            ConfigurationError: When the database is neither SQLite nor PostgreSQL.
        """
        if dialect.name == "postgresql":
            value = cast(column, JSONB)
            # Another program may have written something else, at which the function would fail.
            listed = case((func.jsonb_typeof(value) == "array", value))
            record: ColumnElement[Any] = func.jsonb_array_elements(
                listed, type_=JSONB
            ).column_valued("record", joins_implicitly=True)
            return self._select_each(column, get_fact(record, "name"))
        if dialect.name == "sqlite":
            each = func.json_each(column).table_valued("fullkey", joins_implicitly=True)
            name = func.json_extract(column, each.c.fullkey.concat(".name"), type_=Unicode)
            return self._select_each(column, name)
        raise ConfigurationError(
            f"{dialect.name} cannot be asked for the names in a column of lists: keep each file in"
            " a row of its own, with an AttachmentType column."
        )

    @staticmethod
    def _select_each(column: Any, name: ColumnElement[Any]) -> Select[str]:
        # The table comes first: PostgreSQL's function knows only what is on its left.
        query = select(name.label("name")).select_from(column.table)
        return query.where(column.is_not(None))

    def watch(self, attribute: QueryableAttribute[Any]) -> None:
        """Make lists of what is assigned to an attribute, and notice their changes."""
        super().watch(attribute)
        AttachmentList.associate_with_attribute(attribute)  # type: ignore[arg-type]
        key = attribute.key

        def begin_empty(
            state: InstanceState[Any], value: AttachmentList, values: dict[str, Any]
        ) -> AttachmentList:
            # The list that is handed out is the one that the object has from now on.
            value._parents[state] = key
            values[key] = value
            return value

        def insert_empty(mapper: Mapper[Any], connection: Connection, target: object) -> None:
            values = inspect(target).dict
            column = mapper.columns[key]
            if key not in values and column.default is None and column.server_default is None:
                setattr(target, key, ())

        event.listen(attribute, "init_scalar", begin_empty, raw=True, retval=True)
        event.listen(attribute.class_, "before_insert", insert_empty)

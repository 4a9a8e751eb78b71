import copy
import dataclasses
import itertools
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Unicode,
    cast,
    column,
    create_engine,
    event,
    func,
    insert,
    literal,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    aliased,
    column_property,
    composite,
    declarative_base,
    mapped_column,
    registry,
    synonym,
    validates,
)
from starlette.datastructures import UploadFile

from fastapi_async_storages import (
    MemoryStorage,
    StorageFile,
    StorageImage,
    UploadRules,
    save_upload,
)
from fastapi_async_storages.exceptions import InvalidNameError, NotStoredError
from fastapi_async_storages.info import FileInfo
from fastapi_async_storages.integrations.sqlalchemy import FileType, ImageType
from fastapi_async_storages.pending import PendingFile

storage = MemoryStorage()
other_storage = MemoryStorage(base_url="/other")


class Base(DeclarativeBase):
    type_annotation_map = {StorageFile: FileType(storage)}  # noqa: RUF012


class Document(Base):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    file: Mapped[StorageFile | None] = mapped_column(FileType(storage, length=200))
    image: Mapped[StorageImage | None] = mapped_column(ImageType(storage=storage))


documents = Base.metadata.tables["documents"]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine, expire_on_commit=False) as session:
        yield session


@contextmanager
def recorded_statements(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def record(conn: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", record)


def make_file(name: str) -> StorageFile:
    return StorageFile(storage, name)


def test_a_name_is_a_handle_at_once() -> None:
    document = Document(file="reports//2026.pdf", image="logo.png")

    assert document.file == make_file("reports/2026.pdf")
    assert type(document.image) is StorageImage
    assert document.image == StorageImage(storage, "logo.png")


def test_a_name_set_later_is_a_handle_at_once() -> None:
    document = Document()
    document.file = "a.txt"  # type: ignore[assignment]

    assert document.file == make_file("a.txt")


def test_a_handle_stays_itself() -> None:
    file = StorageFile(storage, "a.txt", FileInfo("a.txt", 3))

    assert Document(file=file).file is file


def test_a_file_is_an_image_in_a_column_of_images() -> None:
    file = StorageFile(storage, "a.png", FileInfo("a.png", 3, width=30, height=20))
    document = Document(image=file)

    assert type(document.image) is StorageImage
    assert document.image == file
    assert document.image.info is file.info


@pytest.mark.anyio
async def test_a_file_and_its_image_know_the_same() -> None:
    await storage.upload(b"abc", "a.png")
    file = make_file("a.png")
    image = Document(image=file).image
    assert image is not None

    await image.get_info()

    assert file.info is not None
    assert file.info is image.info


def test_an_image_may_be_held_as_a_file() -> None:
    image = StorageImage(storage, "a.png")

    assert Document(file=image).file is image


def test_none_stays_none(session: Session) -> None:
    document = Document(file=None)
    session.add(document)
    session.commit()
    session.refresh(document)

    assert document.file is None
    assert session.scalars(select(Document).where(Document.file.is_(None))).one() is document


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a.txt", "a\0b", "x" * 1025])
def test_an_invalid_name_is_refused_at_assignment(name: str) -> None:
    document = Document(file=make_file("old.txt"))

    with pytest.raises(InvalidNameError):
        document.file = name  # type: ignore[assignment]
    with pytest.raises(InvalidNameError):
        Document(file=name)

    assert document.file == make_file("old.txt")


def test_a_file_of_another_storage_is_refused_at_assignment() -> None:
    foreign = StorageFile(other_storage, "a.txt")
    document = Document()

    with pytest.raises(
        ValueError, match=r"Document\.file .*MemoryStorage.*'a\.txt'.*MemoryStorage"
    ):
        document.file = foreign
    with pytest.raises(ValueError, match=r"Document\.image"):
        Document(image=StorageImage(other_storage, "a.png"))


CONTENTS = [b"bytes", Path("a.txt"), BytesIO(), UploadFile(BytesIO(), filename="a.txt")]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: type(content).__name__)
def test_content_is_pending(content: object) -> None:
    file: Any = Document(file=content).file

    assert isinstance(file, PendingFile)
    assert file.content is content
    assert not hasattr(file, "name")
    with pytest.raises(NotStoredError, match=r"PendingFile\(.*\) has no 'get_size' before a flush"):
        file.get_size()


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: type(content).__name__)
def test_a_session_that_is_not_tracked_says_what_to_do(session: Session, content: Any) -> None:
    session.add(Document(file=StorageFile.pending(content, filename="a.txt")))

    with pytest.raises(StatementError, match=r"not stored.*track_files\(\).*save_upload") as caught:
        session.flush()

    assert isinstance(caught.value.orig, NotStoredError)


def test_what_is_neither_file_nor_content_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Document\.file holds a file: .*not a int"):
        Document(file=7)


def test_pending_content_may_be_replaced_before_it_is_stored(session: Session) -> None:
    document = Document(file=b"content")
    assert document.file != make_file("a.txt")
    document.file = make_file("a.txt")
    session.add(document)
    session.flush()

    assert document.file == make_file("a.txt")


@pytest.mark.anyio
async def test_a_fresh_file_that_a_row_names_is_not_fresh_any_more(session: Session) -> None:
    file = await save_upload(b"abc", storage)
    assert file._fresh

    session.add(Document(file=file))
    session.flush()

    assert not file._fresh


def test_options_of_a_column() -> None:
    rules = UploadRules(max_size="1MiB")
    column_type = FileType(storage, length=200, rules=rules, prefix="a//b", cleanup="keep")

    for copied in (column_type, column_type.copy()):
        assert (copied.rules, copied.prefix, copied.cleanup) == (rules, "a/b/", "keep")
    assert repr(column_type) == "FileType(length=200)"
    assert ImageType(storage).rules.image is not None
    with pytest.raises(TypeError, match="cleanup of ImageType must be"):
        ImageType(storage, cleanup="drop")  # type: ignore[arg-type]
    with pytest.raises(InvalidNameError):
        FileType(storage, prefix="../up")


@pytest.mark.parametrize("expire_on_commit", [True, False])
def test_it_reads_back(engine: Engine, expire_on_commit: bool) -> None:
    with Session(engine, expire_on_commit=expire_on_commit) as session:
        document = Document(file="a.txt", image="a.png")
        session.add(document)
        session.flush()
        assert document.file == make_file("a.txt")
        session.commit()
        assert session.get(Document, document.id) is document
        assert document.file == make_file("a.txt")
        assert type(document.image) is StorageImage
        document_id = document.id
    with Session(engine) as session:
        loaded = session.get_one(Document, document_id)
        assert (type(loaded.file), type(loaded.image)) == (StorageFile, StorageImage)
        assert loaded.file == make_file("a.txt")
        assert loaded.image == StorageImage(storage, "a.png")


def test_the_database_holds_the_name(session: Session) -> None:
    session.add(Document(file="a.txt"))
    session.flush()

    assert session.execute(text("select file, image from documents")).all() == [("a.txt", None)]


def test_every_row_loads(session: Session) -> None:
    session.execute(text("insert into documents (title, file, image) values ('', '../x', '')"))

    document = session.scalars(select(Document)).one()

    assert document.image is None
    assert document.file is not None
    assert document.file.name == "../x"


def test_an_equal_value_makes_no_update(engine: Engine, session: Session) -> None:
    document = Document(file="a.txt")
    session.add(document)
    session.commit()

    for equal in ("a.txt", "./a.txt", make_file("a.txt"), StorageImage(storage, "a.txt")):
        document.file = equal  # type: ignore[assignment]
        with recorded_statements(engine) as statements:
            session.flush()
        assert statements == []
    assert document not in session.dirty or not session.is_modified(document)


def test_another_value_makes_an_update(session: Session) -> None:
    document = Document(file="a.txt")
    session.add(document)
    session.commit()

    document.file = make_file("b.txt")
    session.commit()
    session.refresh(document)
    assert document.file == make_file("b.txt")

    document.file = None
    session.commit()
    session.refresh(document)
    assert document.file is None


def test_an_sql_expression_may_be_assigned(session: Session) -> None:
    document = Document(file=func.lower("A.TXT"))
    session.add(document)
    session.flush()

    assert document.file == make_file("a.txt")


def test_merge_refresh_and_expire(engine: Engine) -> None:
    with Session(engine) as session:
        document = Document(id=1, file="a.txt")
        session.add(document)
        session.commit()
    with Session(engine) as session:
        merged = session.merge(Document(id=1, file=make_file("b.txt")))
        assert merged.file == make_file("b.txt")
        session.commit()
        session.expire(merged)
        assert merged.file == make_file("b.txt")
        session.refresh(merged)
        assert merged.file == make_file("b.txt")


def test_validators_run(session: Session) -> None:
    class Validated(declarative_base()):  # type: ignore[misc]
        __tablename__ = "validated"
        id = Column(Integer, primary_key=True)
        file: Column[Any] = Column(FileType(storage))

        @validates("file")
        def add_folder(self, key: str, value: str) -> str:
            return f"folder/{value}"

    assert Validated(file="a.txt").file == make_file("folder/a.txt")


class Defaults(Base):
    __tablename__ = "defaults"

    id: Mapped[int] = mapped_column(primary_key=True)
    plain: Mapped[StorageFile] = mapped_column(FileType(storage), default="plain.txt")
    called: Mapped[StorageFile] = mapped_column(FileType(storage), default=lambda: "called.txt")
    handle: Mapped[StorageImage] = mapped_column(
        ImageType(storage), default=lambda: make_file("handle.png")
    )
    server: Mapped[StorageFile] = mapped_column(FileType(storage), server_default="server.txt")
    changed: Mapped[StorageFile | None] = mapped_column(
        FileType(storage), onupdate=lambda: "changed.txt"
    )
    touched: Mapped[int] = mapped_column(default=0)


def test_column_defaults_are_handles_after_the_flush(engine: Engine, session: Session) -> None:
    row = Defaults()
    session.add(row)
    session.commit()

    with recorded_statements(engine) as statements:
        assert row.plain == make_file("plain.txt")
        assert row.called == make_file("called.txt")
        assert row.handle == StorageImage(storage, "handle.png")
        assert type(row.handle) is StorageImage
    assert statements == []
    assert row.server == make_file("server.txt")
    assert row.changed is None

    row.touched = 1
    session.flush()
    assert row.changed == make_file("changed.txt")


@pytest.mark.parametrize("synchronize_session", ["evaluate", "fetch", "auto"])
def test_bulk_update_of_rows_in_the_session(session: Session, synchronize_session: str) -> None:
    row = Defaults(plain="old.txt")
    session.add(row)
    session.commit()

    session.execute(
        update(Defaults).values(plain="new.txt"),
        execution_options={"synchronize_session": synchronize_session},
    )

    assert row.plain == make_file("new.txt")
    assert row.changed == make_file("changed.txt")


def test_bulk_update_by_primary_key(session: Session) -> None:
    document = Document(file="a.txt")
    session.add(document)
    session.commit()

    session.execute(update(Document), [{"id": document.id, "file": "b.txt"}])

    assert document.file == make_file("b.txt")


def test_bulk_insert(session: Session) -> None:
    rows: list[dict[str, Any]] = [{"file": "a.txt"}, {"file": make_file("b.txt")}, {"file": None}]

    inserted = session.scalars(insert(Document).returning(Document), rows).all()

    assert [row.file for row in inserted] == [make_file("a.txt"), make_file("b.txt"), None]


def test_core_statements(engine: Engine) -> None:
    table = documents
    with engine.connect() as connection:
        connection.execute(insert(table).values(file=make_file("a.txt"), title=""))
        connection.execute(update(table).values(file="b//c.txt"))

        assert connection.scalar(select(table.c.file)) == make_file("b/c.txt")


@pytest.mark.parametrize(
    "value", ["../a.txt", b"bytes", StorageFile(other_storage, "a.txt")], ids=repr
)
def test_core_statements_refuse_what_assignments_refuse(engine: Engine, value: object) -> None:
    with (
        engine.connect() as connection,
        pytest.raises(StatementError) as caught,
    ):
        connection.execute(insert(documents).values(file=value, title=""))

    assert isinstance(caught.value.orig, InvalidNameError | NotStoredError | ValueError)


@pytest.mark.parametrize(
    "condition",
    [
        Document.file == "docs/a.txt",
        Document.file == "docs/./a.txt",
        Document.file == make_file("docs/a.txt"),
        make_file("docs/a.txt") == Document.file,
        Document.file != "docs/b.txt",
        Document.file.in_(["docs//a.txt", make_file("c.txt")]),
        Document.file.not_in(["x"]),
        Document.file.is_distinct_from("x"),
        Document.file.is_not_distinct_from("docs/a.txt"),
        Document.file.is_not(None),
        Document.file.like("docs/%"),
        Document.file.ilike("DOCS/%.txt"),
        Document.file.startswith("docs/"),
        Document.file.startswith("/") == False,  # noqa: E712
        Document.file.endswith("/a.txt"),
        Document.file.contains("/"),
        Document.file.icontains("S/A"),
        Document.file.regexp_match(r"^docs/\w"),
        Document.file > "docs/",
        Document.file >= make_file("docs/a.txt"),
        Document.file.between("docs/", "docs0"),
        func.lower(Document.file) == "docs/a.txt",
        func.length(Document.file) == 10,
        Document.file + ".bak" == "docs/a.txt.bak",
        literal("docs/a.txt/extra").startswith(Document.file),
        type_coerce(Document.file, String) == "docs/a.txt",
    ],
    ids=itertools.count(),
)
def test_queries(session: Session, condition: Any) -> None:
    session.add(Document(file="docs/a.txt"))
    session.flush()

    assert len(session.scalars(select(Document).where(condition)).all()) == 1
    assert session.scalars(select(Document.id).where(~condition)).all() == []


def test_a_query_for_a_file_of_another_storage_is_refused(session: Session) -> None:
    query = select(Document).where(Document.file == StorageFile(other_storage, "a.txt"))

    with pytest.raises(StatementError, match="MemoryStorage"):
        session.execute(query)


def test_columns_of_aliases_and_subqueries(session: Session) -> None:
    session.add(Document(file="a.txt", image="a.png"))
    session.flush()
    alias = aliased(Document)
    subquery = select(Document.image.label("picture")).subquery()

    assert session.scalar(select(alias.file)) == make_file("a.txt")
    assert session.scalar(select(alias).where(alias.file == "a.txt"))
    assert session.scalar(select(subquery.c.picture)) == StorageImage(storage, "a.png")
    assert session.scalar(select(func.max(Document.file))) == make_file("a.txt")
    assert session.scalar(select(func.coalesce(Document.image, "x.png"))) is not None


def test_literal_binds() -> None:
    query = select(Document.id).where(Document.file == "a//b'c.txt")

    assert "'a/b''c.txt'" in str(query.compile(compile_kwargs={"literal_binds": True}))


class Animal(Base):
    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    photo: Mapped[StorageImage | None] = mapped_column("photo_name", ImageType(storage))
    picture: Mapped[StorageImage | None] = synonym("photo")

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Cat(Animal):
    toy: Mapped[StorageFile | None] = mapped_column(FileType(storage))

    __mapper_args__ = {"polymorphic_identity": "cat"}  # noqa: RUF012


class WithPassport:
    passport: Mapped[StorageFile | None] = mapped_column(FileType(other_storage))


class Dog(WithPassport, Animal):
    __tablename__ = "dogs"

    id: Mapped[int] = mapped_column(ForeignKey("animals.id"), primary_key=True)
    annotated: Mapped[StorageFile | None]

    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Robot(Animal):
    __tablename__ = "robots"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    photo: Mapped[StorageFile | None] = mapped_column(  # type: ignore[assignment]
        FileType(other_storage)
    )

    __mapper_args__ = {"concrete": True, "polymorphic_identity": "robot"}  # noqa: RUF012


@pytest.mark.parametrize("model", [Animal, Cat, Dog])
def test_inherited_columns(session: Session, model: type[Animal]) -> None:
    animal = model(photo="a.png")

    assert animal.photo == animal.picture == StorageImage(storage, "a.png")
    animal.picture = "b.png"  # type: ignore[assignment]
    assert animal.photo == StorageImage(storage, "b.png")
    session.add(animal)
    session.flush()
    session.expire(animal)
    assert animal.photo == StorageImage(storage, "b.png")


def test_columns_of_subclasses_and_mixins() -> None:
    assert Cat(toy="mouse.txt").toy == make_file("mouse.txt")
    assert Dog(passport="p.txt").passport == StorageFile(other_storage, "p.txt")
    assert Dog(annotated="a.txt").annotated == make_file("a.txt")


def test_a_column_of_another_storage_in_a_concrete_subclass() -> None:
    robot = Robot(photo="a.txt")

    assert robot.photo == StorageFile(other_storage, "a.txt")


def test_a_name_is_checked_once() -> None:
    class Counting(MemoryStorage):
        checks = 0

        def get_name(self, name: str) -> str:
            self.checks += name == "a.txt"
            return super().get_name(name)

    counting = Counting()

    class Parent(declarative_base()):  # type: ignore[misc]
        __tablename__ = "parents"
        id = Column(Integer, primary_key=True)
        file: Column[Any] = Column(FileType(counting))

    class Child(Parent):
        pass

    Child(file="a.txt")

    assert counting.checks == 1


@dataclasses.dataclass
class Pair:
    file: StorageFile | None
    image: StorageImage | None


def test_composite(session: Session) -> None:
    class Paired(declarative_base()):  # type: ignore[misc]
        __tablename__ = "pairs"
        id = Column(Integer, primary_key=True)
        pair = composite(
            Pair, Column("file", FileType(storage)), Column("image", ImageType(storage))
        )

    Paired.metadata.create_all(session.connection())
    row = Paired(pair=Pair(make_file("a.txt"), None))
    session.add(row)
    session.flush()
    session.expire(row)

    assert row.pair == Pair(make_file("a.txt"), None)


def test_column_property(session: Session) -> None:
    class Shown(declarative_base()):  # type: ignore[misc]
        __tablename__ = "shown"
        id = Column(Integer, primary_key=True)
        file: Column[Any] = Column(FileType(storage))
        upper: Mapped[Any] = column_property(func.coalesce(file, "none.txt"))

    Shown.metadata.create_all(session.connection())
    row = Shown()
    session.add(row)
    session.flush()

    assert row.upper == make_file("none.txt")


def test_imperative_mapping() -> None:
    class Plain:
        def __init__(self, file: object) -> None:
            self.file = file

    table = Table(
        "plain",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("file", FileType(storage)),
    )
    registry().map_imperatively(Plain, table)

    assert Plain("a.txt").file == make_file("a.txt")


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Record(DataBase):
    __tablename__ = "records"

    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    file: Mapped[StorageFile | None] = mapped_column(FileType(storage))
    image: Mapped[StorageImage | None] = mapped_column(
        ImageType(storage),
        default="default.png",
    )
    made: Mapped[StorageFile | None] = mapped_column(
        FileType(storage), default_factory=lambda: make_file("made.txt")
    )


def test_dataclasses(session: Session) -> None:
    DataBase.metadata.create_all(session.connection())
    record = Record(file="a.txt")  # type: ignore[arg-type]

    assert record.file == make_file("a.txt")
    assert record.image == StorageImage(storage, "default.png")
    assert type(record.image) is StorageImage
    assert record.made == make_file("made.txt")
    session.add(record)
    session.flush()
    assert type(record.image) is StorageImage
    copied = dataclasses.asdict(record)
    assert copied["image"] == record.image
    assert repr(make_file("a.txt")) in repr(record)
    session.expire(record)
    assert type(record.image) is StorageImage


class OwnStorageType(FileType):
    """Chooses its storage itself, so that its constructor names none."""

    def __init__(self, tenant: int) -> None:
        super().__init__(storage if tenant == 1 else other_storage)


def test_cached_statements_keep_storages_apart(engine: Engine) -> None:
    with engine.connect() as connection:
        for column_type, expected in (
            (FileType(storage), storage),
            (FileType(other_storage), other_storage),
            (OwnStorageType(1), storage),
            (OwnStorageType(2), other_storage),
        ):
            file = connection.scalar(select(literal("a.txt", String).cast(column_type)))
            assert file.storage is expected  # type: ignore[union-attr]
            query = select(type_coerce(text("'a.txt'"), column_type))
            assert connection.scalar(query).storage is expected  # type: ignore[union-attr]


def test_cached_statements_keep_lengths_apart(engine: Engine) -> None:
    with recorded_statements(engine) as statements, engine.connect() as connection:
        for length in (10, 20):
            connection.execute(select(cast(literal("a", String), FileType(storage, length=length))))

    assert "VARCHAR(10)" in statements[0]
    assert "VARCHAR(20)" in statements[1]


def test_statements_are_cached() -> None:
    first = select(Document).where(Document.file == "a.txt")
    second = select(Document).where(Document.file == "b.txt")

    assert first._generate_cache_key() == second._generate_cache_key()
    assert first._generate_cache_key() is not None


def test_cache_ok_of_subclasses() -> None:
    class Cached(FileType):
        pass

    class NotCached(FileType):
        cache_ok: bool | None = False

    class AlsoNotCached(NotCached):
        pass

    assert (Cached.cache_ok, NotCached.cache_ok, AlsoNotCached.cache_ok) == (True, False, False)
    assert select(column("file", AlsoNotCached(storage)))._generate_cache_key() is None


def test_repr_holds_what_makes_the_column() -> None:
    class DocumentType(FileType):
        pass

    assert repr(FileType(storage)) == "FileType()"
    assert repr(ImageType(storage, length=200)) == "ImageType(length=200)"
    assert repr(DocumentType(storage, 200)) == "DocumentType(length=200)"


def test_copies_keep_the_storage() -> None:
    column_type = ImageType(storage, length=200)
    column = documents.to_metadata(MetaData()).c.image

    assert column_type.copy().storage is storage
    assert isinstance(column.type, ImageType)
    assert column.type.storage is storage


def test_variants(engine: Engine) -> None:
    column_type = FileType(storage).with_variant(FileType(storage, length=50), "sqlite")
    table = Table("variants", MetaData(), Column("file", column_type))
    table.create(engine)

    with engine.connect() as connection:
        connection.execute(insert(table).values(file=make_file("a.txt")))
        assert connection.scalar(select(table.c.file)) == make_file("a.txt")

    with pytest.raises(TypeError, match=r"FileType\(\) for mysql must be a FileType too"):
        FileType(storage).with_variant(Unicode(50), "mysql")


@pytest.mark.parametrize("value", [Base.metadata, Document(file=make_file("a.txt")), storage])
def test_pickling_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"MemoryStorage\(\) cannot be pickled"):
        pickle.dumps(value)


def test_deep_copies_of_values_keep_the_storage() -> None:
    document = Document(file="a.txt")

    assert copy.deepcopy({"file": document.file}) == {"file": make_file("a.txt")}


@pytest.mark.parametrize("value", [None, 200, "documents"])
def test_a_type_needs_a_storage(value: Any) -> None:
    with pytest.raises(TypeError, match=r"ImageType needs a storage, not .*ImageType\(storage"):
        ImageType(value)


def test_missing_sqlalchemy() -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "try:\n"
        "    import fastapi_async_storages.integrations.sqlalchemy\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.startswith("MissingDependencyError ")
    assert "pip install 'fastapi-async-storages[sqlalchemy]'" in done.stdout

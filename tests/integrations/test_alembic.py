"""Migrations by hand, with the real Alembic, in a project of its own."""

import re
from pathlib import Path

import pytest

from tests.integrations.alembic_project import Project

STORAGES = """
from {package} import S3Storage

storage = S3Storage(
    bucket_name="my-bucket",
    endpoint_url="localhost:9000",
    aws_access_key_id="fake-access-key",
    aws_secret_access_key="fake-secret-key",
    use_ssl=False,
)
"""

CUSTOM_TYPES = """
from typing import Any

from {package}.integrations.sqlalchemy import FileType as _FileType
from {package}.integrations.sqlalchemy import ImageType as _ImageType

from app.core.storages import storage


class FileType(_FileType):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(storage=storage, *args, **kwargs)


class ImageType(_ImageType):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(storage=storage, *args, **kwargs)
"""

MODELS = """
from sqlalchemy import Column, Integer
from sqlalchemy.orm import declarative_base

from app.custom_types import FileType, ImageType

Base = declarative_base()


class Document(Base):
    __tablename__ = "documents"

    id = Column(Integer, primary_key=True)
    file = Column(FileType(length=200), nullable=False)
    image = Column(ImageType())
"""


def start_project(root: Path, package: str) -> Project:
    sources = {
        "app/__init__.py": "",
        "app/core/__init__.py": "",
        "app/core/storages.py": STORAGES,
        "app/custom_types.py": CUSTOM_TYPES,
        "app/models.py": MODELS,
    }
    project = Project(
        root, {name: source.replace("{package}", package) for name, source in sources.items()}
    )
    project.alembic("init", "migrations")
    project.edit("alembic.ini", "driver://user:pass@localhost/dbname", "sqlite:///app.db")
    project.edit("migrations/env.py", "target_metadata = None", "target_metadata = Base.metadata")
    project.edit(
        "migrations/env.py",
        "from alembic import context\n",
        "from alembic import context\nfrom app.models import Base\n",
    )
    project.edit(
        "migrations/script.py.mako",
        "import sqlalchemy as sa\n",
        "import sqlalchemy as sa\nimport app.custom_types\n",
    )
    return project


@pytest.mark.parametrize("package", ["fastapi_async_storages", "async_storages"])
def test_migrations(tmp_path: Path, package: str) -> None:
    project = start_project(tmp_path, package)

    project.alembic("revision", "--autogenerate", "-m", "first")
    migration = project.migration("first")
    assert re.search(
        r"sa\.Column\('file', app\.custom_types\.FileType\(length=200\), nullable=False\)",
        migration,
    )
    assert "sa.Column('image', app.custom_types.ImageType(), nullable=True)" in migration

    project.alembic("upgrade", "head")
    assert project.columns() == {"id": "INTEGER", "file": "VARCHAR(200)", "image": "VARCHAR"}

    project.alembic("revision", "--autogenerate", "-m", "second")
    assert "op." not in project.migration("second").partition("def upgrade")[2]

    project.alembic("downgrade", "base")
    assert project.columns() == {}


def test_a_change_of_the_length_is_seen(tmp_path: Path) -> None:
    project = start_project(tmp_path, "fastapi_async_storages")
    project.alembic("revision", "--autogenerate", "-m", "first")
    project.alembic("upgrade", "head")
    project.edit("app/models.py", "length=200", "length=300")

    project.alembic("revision", "--autogenerate", "-m", "longer")

    assert "type_=app.custom_types.FileType(length=300)" in project.migration("longer")

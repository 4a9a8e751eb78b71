"""The usage examples that both packages promise to run, as the scripts that a user writes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.s3 import S3Server

REPOSITORY = Path(__file__).parents[1]

STORAGE = """
import asyncio
from io import BytesIO
from PACKAGE import S3Storage

storage = S3Storage(
  bucket_name="my-bucket",
  endpoint_url="localhost:9000", # no protocol (http/https)
  aws_access_key_id="fake-access-key",
  aws_secret_access_key="fake-secret-key",
  use_ssl=False,
)

async def main():
  file_name = "uploads/example.txt"
  file_obj = BytesIO(b"hello world")

  # upload a file
  await storage.upload(file_obj, file_name)
  # get file URL
  path = await storage.get_path(file_name)
  print(path)
  # get file size
  size = await storage.get_size(file_name)
  # delete file
  await storage.delete(file_name)

  print(size)

asyncio.run(main())
"""

MODELS = """
import asyncio
from io import BytesIO

from PIL import Image
from sqlalchemy import Column, Integer
from sqlalchemy.ext.asyncio import create_async_engine, AsyncSession
from sqlalchemy.ext.asyncio.session import async_sessionmaker
from sqlalchemy.orm import declarative_base

from PACKAGE import S3Storage
from PACKAGE.integrations.sqlalchemy import FileType, ImageType

Base = declarative_base()
engine = create_async_engine("sqlite+aiosqlite:///:memory:")
async_session = async_sessionmaker(engine, expire_on_commit=False, class_=AsyncSession)

storage = S3Storage(
  bucket_name="my-bucket",
  endpoint_url="localhost:9000",
  aws_access_key_id="fake-access-key",
  aws_secret_access_key="fake-secret-key",
  use_ssl=False,
)

class Document(Base):
  __tablename__ = "documents"

  id = Column(Integer, primary_key=True)
  file = Column(FileType(storage=storage))
  image = Column(ImageType(storage=storage))

async def main():
  async with engine.begin() as conn:
    await conn.run_sync(Base.metadata.create_all)

  # create an in-memory image
  img_buf = BytesIO()
  Image.new("RGB", (32, 16), color=(255, 0, 0)).save(img_buf, format="PNG")
  img_buf.seek(0)

  # upload and link file and image
  img_name = await storage.upload(img_buf, "uploads/test-image.png")
  file_name = await storage.upload(BytesIO(b"hello world"), "uploads/test.txt")

  async with async_session() as session:
    doc = Document(file=file_name, image=img_name)
    session.add(doc)
    await session.commit()

    doc = await session.get(Document, doc.id)
    url = await doc.file.get_path()
    print(url)
    width, height = await doc.image.get_dimensions()
    print(f"Dimensions: {width}x{height}")

asyncio.run(main())
"""


@pytest.mark.parametrize("package", ["async_storages", "fastapi_async_storages"])
class TestExamples:
    @pytest.fixture(autouse=True)
    def _set_up(self, package: str, s3_server: S3Server, tmp_path: Path) -> None:
        self.package = package
        self.server = s3_server
        self.script = tmp_path / "example.py"

    def run(self, example: str) -> list[str]:
        """Run an example as a script against the server, and return the lines that it prints."""
        endpoint = self.server.endpoint_url.removeprefix("http://")
        for placeholder, value in {
            "PACKAGE": self.package,
            "my-bucket": self.server.bucket,
            "localhost:9000": endpoint,
            "fake-access-key": self.server.access_key,
            "fake-secret-key": self.server.secret_key,
        }.items():
            assert placeholder in example
            example = example.replace(placeholder, value)
        self.script.write_text(example)
        # The example does not dispose of its engine, and aiosqlite minds that.
        warnings = ("-W", "error", "-W", "ignore:<aiosqlite:ResourceWarning")
        done = subprocess.run(
            [sys.executable, *warnings, self.script],
            env={"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        # Nothing on stderr: no error, and no client that was left open.
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def assert_url(self, url: str, name: str) -> None:
        plain, _, query = url.partition("?")
        assert plain == f"{self.server.endpoint_url}/{self.server.bucket}/{name}"
        # The older library gives plain URLs unless told otherwise, the new one signs them.
        assert ("X-Amz-Signature=" in query) is (self.package == "fastapi_async_storages")

    def test_storage(self) -> None:
        url, size = self.run(STORAGE)

        self.assert_url(url, "uploads/example.txt")
        assert size == "11"

    def test_models(self) -> None:
        url, dimensions = self.run(MODELS)

        self.assert_url(url, "uploads/test.txt")
        assert dimensions == "Dimensions: 32x16"

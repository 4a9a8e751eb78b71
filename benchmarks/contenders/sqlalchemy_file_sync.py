"""sqlalchemy-file 0.7 (libcloud), as its README uses it: sync endpoints, which run in threads."""

import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from fastapi import FastAPI, Response, UploadFile
from libcloud.storage.drivers.minio import MinIOStorageDriver
from probe import Probe
from sqlalchemy import Column, Integer, create_engine
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy_file import File, FileField
from sqlalchemy_file.storage import StorageManager
from starlette.responses import StreamingResponse

endpoint = urlsplit(os.environ["BENCH_ENDPOINT"])
driver = MinIOStorageDriver(
    os.environ["BENCH_ACCESS_KEY"],
    os.environ["BENCH_SECRET_KEY"],
    secure=False,
    host=endpoint.hostname,
    port=endpoint.port,
)
StorageManager.add_storage("default", driver.get_container(os.environ["BENCH_BUCKET"]))
engine = create_engine(f"sqlite:///{os.environ['BENCH_DIRECTORY']}/sqlalchemy_file.db")
Base = declarative_base()


class Document(Base):  # type: ignore[misc, valid-type]
    __tablename__ = "documents"

    id = Column(Integer, primary_key=True)
    file = Column(FileField)


Base.metadata.create_all(engine)
service = FastAPI()


@service.post("/upload")
def upload(file: UploadFile) -> dict[str, str]:
    # What the column does in the flush, without the row, which the other contenders have not.
    stored = File(content=file)
    stored.save_to_storage("default")
    return {"name": stored["file_id"]}


@service.get("/files/{name:path}")
def read(name: str) -> Response:
    chunks: Iterator[bytes] = StorageManager.get_file(f"default/{name}").object.as_stream()
    return StreamingResponse(chunks)


@service.post("/rows")
def add_rows(count: int, size: int) -> dict[str, float]:
    content = os.urandom(size)
    started = time.perf_counter()
    with Session(engine) as session:
        session.add_all(Document(file=File(content=content)) for _ in range(count))
        session.commit()
    return {"seconds": time.perf_counter() - started}


app = Probe(service)

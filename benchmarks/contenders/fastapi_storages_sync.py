"""fastapi-storages 0.5 (boto3), as its README uses it: sync endpoints, which run in threads."""

import os
import time
from io import BytesIO
from uuid import uuid4

from fastapi import FastAPI, Response, UploadFile
from fastapi_storages import S3Storage
from fastapi_storages.integrations.sqlalchemy import FileType
from probe import Probe
from sqlalchemy import Column, Integer, create_engine
from sqlalchemy.orm import Session, declarative_base
from starlette.responses import RedirectResponse

# boto3 reads the region from here; the storage has no option for it.
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"


class BenchStorage(S3Storage):
    AWS_ACCESS_KEY_ID = os.environ["BENCH_ACCESS_KEY"]
    AWS_SECRET_ACCESS_KEY = os.environ["BENCH_SECRET_KEY"]
    AWS_S3_BUCKET_NAME = os.environ["BENCH_BUCKET"]
    AWS_S3_ENDPOINT_URL = os.environ["BENCH_ENDPOINT"].removeprefix("http://")
    AWS_S3_USE_SSL = False
    AWS_DEFAULT_ACL = "private"
    AWS_QUERYSTRING_AUTH = True
    AWS_S3_SIGNATURE_VERSION = "s3v4"


storage = BenchStorage()
engine = create_engine(f"sqlite:///{os.environ['BENCH_DIRECTORY']}/fastapi_storages.db")
Base = declarative_base()


class Document(Base):  # type: ignore[misc, valid-type]
    __tablename__ = "documents"

    id = Column(Integer, primary_key=True)
    file = Column(FileType(storage=storage))


Base.metadata.create_all(engine)
service = FastAPI()


@service.post("/upload")
def upload(file: UploadFile) -> dict[str, str]:
    return {"name": storage.write(file.file, f"{uuid4()}.bin")}


@service.get("/sign/{name:path}")
def sign(name: str) -> Response:
    return RedirectResponse(storage.get_path(name))


@service.post("/rows")
def add_rows(count: int, size: int) -> dict[str, float]:
    content = os.urandom(size)
    started = time.perf_counter()
    with Session(engine) as session:
        for _ in range(count):
            file = UploadFile(BytesIO(content), filename=f"{uuid4()}.bin")
            session.add(Document(file=file))
        session.commit()
    return {"seconds": time.perf_counter() - started}


app = Probe(service)

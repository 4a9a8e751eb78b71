"""What holds for the whole suite, and the servers that it shares.

Each server is started once, and only when a test asks for it.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.blocking import forbid_blocking
from tests.leaks import LeakWatch
from tests.servers.postgresql import find_binaries, run_postgresql
from tests.servers.s3 import S3Server, run_s3_server

pytest_plugins = ["fastapi_async_storages.pytest_plugin"]

# A machine that is busy with other things makes no example wrong.
settings.register_profile("suite", settings(), deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def our_code_never_blocks_the_loop() -> Iterator[None]:
    with forbid_blocking():
        yield


@pytest.fixture(scope="session")
def leak_watch() -> Iterator[LeakWatch]:
    """What looks for secrets in all that is logged and raised."""
    watch = LeakWatch()
    with watch.watching():
        yield watch


@pytest.fixture(autouse=True)
def nothing_secret_is_logged_or_raised(leak_watch: LeakWatch) -> Iterator[None]:
    yield
    assert leak_watch.take() == []


@pytest.fixture(scope="session")
def s3_server(leak_watch: LeakWatch) -> Iterator[S3Server]:
    """A running S3 server. Leave it running: a test of an outage starts a SeaweedFS of its own."""
    with run_s3_server() as server:
        leak_watch.secrets.add(server.secret_key)
        yield server


@pytest.fixture(scope="session")
def s3_bucket(s3_server: S3Server) -> str:
    """The bucket of the session. Tests keep apart by a prefix of their own."""
    return s3_server.bucket


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The SQLAlchemy URL of a PostgreSQL database. Tests keep apart by schemas of their own."""
    with run_postgresql(find_binaries()) as url:
        yield url

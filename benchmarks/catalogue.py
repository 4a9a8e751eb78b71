"""Who takes part: this package, what people use today, and the yardsticks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["CONTENDERS", "OURS", "Contender"]

SERVER = ("fastapi", "uvicorn[standard]", "python-multipart")


@dataclass(frozen=True)
class Contender:
    """One app to be measured.

    Attributes:
        title: How the results name it.
        module: Its app, in ``benchmarks/contenders``; empty for nginx, which needs none.
        requirements: What its environment has; that of the project itself when empty.
        packages: Distributions whose versions the results show.
        python: Which Python it needs, if not the one of the project.
        environment: Further variables of its process.
        lacks: Which safety it does not have, beside what this package does.
    """

    title: str
    module: str
    requirements: Sequence[str] = ()
    packages: Sequence[str] = ()
    python: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    lacks: str = ""


CONTENDERS: Mapping[str, Contender] = {
    "aiobotocore": Contender(
        "ours, aiobotocore",
        "ours",
        packages=["aiobotocore"],
        environment={"BENCH_STORAGE": "aiobotocore"},
    ),
    "obstore": Contender(
        "ours, obstore",
        "ours",
        packages=["obstore"],
        environment={"BENCH_STORAGE": "obstore"},
    ),
    "obstore-frozen": Contender(
        "ours, obstore, gc.freeze()",
        "ours",
        packages=["obstore"],
        environment={"BENCH_STORAGE": "obstore", "BENCH_FREEZE": "1"},
    ),
    "local": Contender("ours, local", "ours", environment={"BENCH_STORAGE": "local"}),
    "memory": Contender("ours, memory", "ours", environment={"BENCH_STORAGE": "memory"}),
    "older": Contender(
        "fastapi-async-storages 0.1.4",
        "older_library",
        [
            *SERVER,
            "fastapi-async-storages[s3]==0.1.4",
            "pillow",
            "sqlalchemy[asyncio]",
            "aiosqlite",
        ],
        ["fastapi-async-storages", "aioboto3", "aiobotocore"],
        python="3.12",
        lacks="Replaces a file of the same name; no type by content, no size limit, no SHA-256. A"
        " file stays when its row is rolled back, and when the row or the file is deleted or"
        " replaced. Reads whole files into memory.",
    ),
    "fastapi-storages": Contender(
        "fastapi-storages 0.5",
        "fastapi_storages_sync",
        [*SERVER, "fastapi-storages[s3,sqlalchemy]==0.5.*"],
        ["fastapi-storages", "boto3"],
        lacks="Replaces a file of the same name; no type by content, no size limit, no SHA-256. A"
        " file stays when its row is rolled back or deleted. Blocks the event loop in async"
        " endpoints. Its S3 storage cannot read.",
    ),
    "sqlalchemy-file": Contender(
        "sqlalchemy-file 0.7",
        "sqlalchemy_file_sync",
        [*SERVER, "sqlalchemy-file==0.7.*"],
        ["sqlalchemy-file", "apache-libcloud"],
        lacks="No type by content, no SHA-256 (MD5 of each part); the size is checked after the"
        " whole body has come. Deletes when a SAVEPOINT is released. Blocks the event loop in async"
        " endpoints.",
    ),
    "advanced-alchemy": Contender(
        "advanced-alchemy 1.12",
        "advanced_alchemy_files",
        [*SERVER, "advanced-alchemy[obstore]==1.12.*", "aiosqlite"],
        ["advanced-alchemy", "obstore"],
        lacks="Replaces a file of the same name; no type by content, no size limit, no SHA-256."
        " Commits rows before their files are stored, in tasks that nobody waits for: a file that"
        " cannot be stored leaves a row without one. Whole files in memory.",
    ),
    "raw-aiobotocore": Contender(
        "raw aiobotocore",
        "raw_aiobotocore",
        packages=["aiobotocore"],
        lacks="A yardstick: no checks at all, and an upload that fails stays in the bucket.",
    ),
    "raw-obstore": Contender(
        "raw obstore",
        "raw_obstore",
        [*SERVER, "obstore"],
        ["obstore"],
        lacks="A yardstick: no checks at all, and an upload in parts that fails leaves them.",
    ),
    "starlette": Contender(
        "Starlette",
        "starlette_files",
        packages=["starlette"],
        lacks="A yardstick: no storage.",
    ),
    "starlette-1-mib": Contender(
        "Starlette, 1 MiB chunks",
        "starlette_files",
        packages=["starlette"],
        environment={"BENCH_CHUNK_SIZE": str(1024 * 1024)},
        lacks="A yardstick: no storage.",
    ),
    "nginx": Contender("nginx", "", lacks="A yardstick: no app."),
}
"""By the names that the cases use; ``floor-form`` of a case is the ``/stream`` of a raw one."""

OURS = ("aiobotocore", "obstore", "obstore-frozen", "local", "memory")
"""Those that are this package."""

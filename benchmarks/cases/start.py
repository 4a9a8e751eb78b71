"""What a process pays before its first request: the import, and the opening of the storage."""

import asyncio
import json
import os

from benchmarks.case import Case, Column, Goal, Scale, Values
from benchmarks.servers import Target

# What an app imports, since names load with their first use.
NAMES = (
    "StorageDep, UploadRules, add_problem_handlers, create_files_router, public, save_upload,"
    " storage_lifespan"
)
IMPORTS = {
    "memory": f"from fastapi_async_storages import LocalStorage, MemoryStorage, {NAMES}",
    "aiobotocore": f"from fastapi_async_storages import S3Storage, {NAMES}",
    "older": "from async_storages import S3Storage",
    "fastapi-storages": "from fastapi_storages import S3Storage",
    "sqlalchemy-file": "from sqlalchemy_file import FileField;"
    " import libcloud.storage.drivers.minio",
    "advanced-alchemy": "from advanced_alchemy.types import FileObject;"
    " import advanced_alchemy.types.file_object.backends.obstore",
}

PROGRAM = """
import fastapi, json, sys, time
started = time.process_time()
exec(sys.argv[1])
values = {"import": time.process_time() - started}
if "S3Storage" in sys.argv[1] and "fastapi_async_storages" in sys.argv[1]:
    import asyncio
    from fastapi_async_storages import S3Storage

    async def open_storage():
        ticks = [time.perf_counter()]

        async def tick():
            while True:
                await asyncio.sleep(0.001)
                ticks.append(time.perf_counter())

        ticker = asyncio.create_task(tick())
        storage = S3Storage("bench", endpoint_url="http://127.0.0.1:9",
                            aws_access_key_id="a", aws_secret_access_key="b")
        started = time.perf_counter()
        async with storage:
            values["open"] = time.perf_counter() - started
        ticker.cancel()
        values["lag"] = max(b - a for a, b in zip(ticks, ticks[1:])) - 0.001

    asyncio.run(open_storage())
print(json.dumps(values))
"""


async def measure(target: Target, scale: Scale) -> Values:
    # The round that warms up writes the bytecode, which an installed package has.
    process = await asyncio.create_subprocess_exec(
        target.interpreter,
        "-c",
        PROGRAM,
        IMPORTS[target.name],
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **target.environment, "PYTHONDONTWRITEBYTECODE": ""},
        cwd=target.directory,
    )
    output, _ = await process.communicate()
    values: Values = json.loads(output)
    return values


CASES = [
    Case(
        "start",
        "Import beside FastAPI alone, and the opening of a storage in the lifespan",
        list(IMPORTS),
        measure,
        [
            Column("import", "import CPU ms", 1e3, 1),
            Column("open", "open ms", 1e3, 1),
            Column("lag", "lag max while opening ms", 1e3, 1),
        ],
        s3=None,
        serve=False,
        goals=[Goal("memory", "import", True, 0.030)],
        note="The names that an app needs. `ours, memory` is the package without extras;"
        " `ours, aiobotocore` has the SDK as well, whose model of S3 is loaded when the"
        " storage is opened.",
    )
]

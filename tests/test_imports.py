"""What an import loads: every process pays for it, each worker of a server and each command."""

import subprocess
import sys

NAMES_OF_AN_APP = (
    "LocalStorage, MemoryStorage, StorageDep, UploadRules, add_problem_handlers,"
    " create_files_router, public, save_upload, storage_lifespan"
)


def test_names_of_an_app_load_no_other_library() -> None:
    loaded = list_loaded(NAMES_OF_AN_APP, after="fastapi")

    libraries = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    # Not even those that are required: filetype is for the first binary file, itsdangerous for the
    # first key.
    assert libraries == {"fastapi_async_storages"}


def test_names_of_an_app_load_nothing_that_only_others_need() -> None:
    loaded = list_loaded(NAMES_OF_AN_APP, after="fastapi")

    assert "fastapi_async_storages.http.responses" in loaded
    assert not loaded & {
        "fastapi_async_storages.backends.s3",
        "fastapi_async_storages.http.web_servers",
        "fastapi_async_storages.openapi",
        "fastapi_async_storages.presigned",
        "fastapi_async_storages.routers.uploads",
        "fastapi_async_storages.schemas",
        "fastapi_async_storages.settings",
        "fastapi_async_storages.streamed_forms",
        "fastapi_async_storages.uploads.clamav",
        "fastapi_async_storages.uploads.multipart",
        "fastapi_async_storages.uploads.pending_uploads",
        "fastapi_async_storages.uploads.streaming",
    }


def test_storages_load_no_web_framework() -> None:
    loaded = list_loaded("LocalStorage, MemoryStorage, StorageFile, Storages", after="anyio")

    assert not loaded & {"fastapi", "starlette", "pydantic"}


def test_a_record_loads_no_storage() -> None:
    loaded = list_loaded("FileInfo", after="anyio")

    assert {name for name in loaded if name.startswith("fastapi_async_storages")} == {
        "fastapi_async_storages",
        "fastapi_async_storages.exceptions",
        "fastapi_async_storages.info",
    }


def list_loaded(names: str, *, after: str) -> set[str]:
    """Return the modules that a new process loads for names of the package, and had not before."""
    code = (
        f"import sys, {after}\n"
        "before = set(sys.modules)\n"
        f"from fastapi_async_storages import {names}\n"
        "print(*set(sys.modules) - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())

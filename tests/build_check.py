"""What the distributions hold, and what the wheel does where no extra is installed.

Run by `make build-check`, apart from the other tests: it builds, and installs from the index.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = ("fastapi_async_storages", "async_storages")
EXTRAS = ("aiobotocore", "botocore", "obstore", "sqlalchemy", "PIL")

pytestmark = pytest.mark.timeout(600)  # seconds: an installation over a slow line


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("distributions")
    # The wheel is built from the sdist, so a file that the sdist lacks is missed in the wheel too.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory, PROJECT)
    return directory


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("*.whl"))


@pytest.fixture(scope="session")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and its required dependencies."""
    environment = tmp_path_factory.mktemp("environment")
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--constraint", PROJECT / "constraints.txt", wheel)
    run(*pip, "check")
    return python


def test_wheel_holds_both_typed_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    top_level = {name.split("/")[0] for name in names}
    assert {name for name in top_level if not name.endswith(".dist-info")} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_wheel_holds_every_module_of_the_source_tree(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        built = {name for name in archive.namelist() if name.endswith(".py")}

    source = {
        path.relative_to(PROJECT).as_posix()
        for package in PACKAGES
        for path in (PROJECT / package).rglob("*.py")
    }
    assert built == source


def test_sdist_holds_what_is_needed_to_test_it(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    needed = {
        "pyproject.toml",
        "constraints.txt",
        "Makefile",
        "README.md",
        "LICENSE",
        "SECURITY.md",
    }
    assert needed <= names
    assert "tests/build_check.py" in names
    assert not [name for name in names if name.startswith((".venv", "site/", "var/"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_imports_without_extras(clean_python: Path, package: str) -> None:
    installed = run_code(clean_python, f"import {package}; print({package}.__file__)")

    assert "site-packages" in installed  # and not the source tree


def test_wheel_tells_its_version(clean_python: Path, wheel: Path) -> None:
    version = run_code(clean_python, "import fastapi_async_storages as f; print(f.__version__)")

    assert wheel.name.startswith(f"fastapi_async_storages-{version}-")


def test_name_of_a_missing_extra_tells_the_command_that_installs_it(clean_python: Path) -> None:
    message = run_code(
        clean_python,
        "import fastapi_async_storages\n"
        "from fastapi_async_storages.exceptions import MissingDependencyError\n"
        "try:\n"
        "    fastapi_async_storages.S3Storage\n"
        "except MissingDependencyError as error:\n"
        "    print(error)\n",
    )

    assert "pip install 'fastapi-async-storages[s3]'" in message


def test_importing_the_package_loads_no_installed_extra() -> None:
    # In this environment every extra is installed, so each of them could have been loaded.
    loaded = run_code(
        Path(sys.executable),
        "import sys, fastapi_async_storages\n"
        f"print([name for name in {EXTRAS!r} if name in sys.modules])\n",
    )

    assert loaded == "[]"


def run_code(python: Path, code: str) -> str:
    # -I: neither the working directory nor the caller's variables choose what is imported.
    return run(python, "-I", "-W", "error", "-c", code)


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()

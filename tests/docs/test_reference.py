"""The reference has what can be imported from the package."""

import re

import pytest

import fastapi_async_storages
from tests.docs.pages import PROJECT

DOCUMENTED = {
    target
    for page in (PROJECT / "docs" / "reference").glob("*.md")
    for target in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
}
"""The modules and objects whose docstrings mkdocstrings reads."""


@pytest.mark.parametrize("name", sorted(set(fastapi_async_storages.__all__) - {"__version__"}))
def test_public_name_is_in_the_reference(name: str) -> None:
    module = f"fastapi_async_storages.{fastapi_async_storages._MODULES[name]}"
    assert {module, f"{module}.{name}"} & DOCUMENTED, (
        f"Add '::: {module}' to a page in docs/reference/, and {name} to the table in its index."
    )


@pytest.mark.parametrize("name", sorted(set(fastapi_async_storages.__all__) - {"__version__"}))
def test_public_name_is_in_the_index_of_the_reference(name: str) -> None:
    index = (PROJECT / "docs" / "reference" / "index.md").read_text()
    assert f"`{name}`" in index

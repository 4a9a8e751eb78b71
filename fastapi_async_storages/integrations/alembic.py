"""Migrations that need neither this package nor a storage.

In ``migrations/env.py``::

    from fastapi_async_storages.integrations.alembic import render_item

    context.configure(connection=connection, target_metadata=..., render_item=render_item)
"""

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import JSON
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

from fastapi_async_storages.integrations.sqlalchemy.column_types import FileColumnType

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

__all__ = ["render_item"]


def render_item(
    type_: str, obj: Any, autogen_context: "AutogenContext"
) -> str | Literal[False] | None:
    """Render the column types of this package as the SQLAlchemy types that the database sees.

    An env.py that renders items of its own calls this for those that it does not know.

    Args:
        type_: What Alembic renders, such as ``"type"`` or ``"column"``.
        obj: The object to render.
        autogen_context: What Alembic hands to such functions.

    Returns:
        Python code, or ``False`` for everything that is not of this package, which Alembic then
        renders itself.
    """
    if type_ != "type" or not isinstance(obj, FileColumnType):
        return False
    return _render(obj, autogen_context)


def _render(column_type: TypeEngine[Any], context: "AutogenContext") -> str:
    plain = column_type.impl_instance if isinstance(column_type, TypeDecorator) else column_type
    rendered = _render_plain(plain, context)
    # Alembic, too, finds the variants there, and asks for a type with all its variants at once.
    for dialect, variant in sorted((plain._variant_mapping | column_type._variant_mapping).items()):
        rendered += f".with_variant({_render(variant, context)}, {dialect!r})"
    return rendered


def _render_plain(plain: TypeEngine[Any], context: "AutogenContext") -> str:
    if isinstance(plain, JSONB):
        context.imports.add("from sqlalchemy.dialects import postgresql")
        # Its repr names a type that is not imported. Nothing of it changes the column.
        return "postgresql.JSONB()"
    # "sa." unless configured otherwise; None is no prefix.
    prefix = context.opts["sqlalchemy_module_prefix"] or ""
    return f"{prefix}JSON()" if isinstance(plain, JSON) else f"{prefix}{plain!r}"

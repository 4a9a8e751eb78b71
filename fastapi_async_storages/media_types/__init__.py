"""Media types (RFC 9110 section 8.3.1): told from the first bytes, from a name, and compared.

A client's word for the type of its file is a claim. The bytes decide: `sniff_media_type` says what
they prove, and `resolve_media_type` weighs the claims against that and answers the one type to
store. `is_scriptable` says which types a browser could run in the origin of the site.
"""

from fastapi_async_storages.media_types._claims import DEFAULT_MEDIA_TYPE, resolve_media_type
from fastapi_async_storages.media_types._extensions import extension_for, guess_media_type
from fastapi_async_storages.media_types._names import (
    is_scriptable,
    media_type_matches,
    normalize_media_type,
)
from fastapi_async_storages.media_types._signatures import SNIFF_SIZE, sniff_media_type

__all__ = [
    "DEFAULT_MEDIA_TYPE",
    "SNIFF_SIZE",
    "extension_for",
    "guess_media_type",
    "is_scriptable",
    "media_type_matches",
    "normalize_media_type",
    "resolve_media_type",
    "sniff_media_type",
]

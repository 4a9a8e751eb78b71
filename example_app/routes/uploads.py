"""Uploads that go from the browser to the storage; ``static/uploads.js`` sends them."""

from fastapi import APIRouter

from example_app import gallery
from example_app.database import SessionDep
from example_app.settings import settings
from fastapi_async_storages import StorageFile, create_uploads_router, public

PART_THRESHOLD = "16MiB"
"""Size from which a file goes to S3 in parts: low, so that a demo shows it."""


async def keep_document(file: StorageFile, session: SessionDep) -> None:
    """Make the row of a document that is stored."""
    await gallery.keep_document(file, session)


async def keep_photo(file: StorageFile, session: SessionDep) -> None:
    """Make the thumbnail and the row of a photo that is stored."""
    await gallery.keep_photo(file, session)


router = APIRouter(prefix="/uploads", tags=["uploads"])
router.include_router(
    create_uploads_router(
        access=public,  # As the forms are; a real app asks for a user.
        rules=gallery.LARGE_DOCUMENT_RULES,
        prefix="documents",
        on_stored=keep_document,
        secret_key=settings.secret_key,
        multipart_threshold=PART_THRESHOLD,
    ),
    prefix="/documents",
)
router.include_router(
    create_uploads_router(
        access=public,
        rules=gallery.PHOTO_RULES,
        prefix="photos",
        on_stored=keep_photo,
        secret_key=settings.secret_key,
        multipart_threshold=PART_THRESHOLD,
    ),
    prefix="/photos",
)

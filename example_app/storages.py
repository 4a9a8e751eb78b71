"""The storage of the app. Models and routes import it from here."""

from example_app.settings import settings
from fastapi_async_storages import Storages, storage_from_url

storage = storage_from_url(settings.storage_url, secret_key=settings.secret_key)
storages = Storages(default=storage)

"""A small gallery of documents and photos, built on fastapi-async-storages."""

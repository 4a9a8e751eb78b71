"""Routers that an app includes: files out."""

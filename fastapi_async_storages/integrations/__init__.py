"""Storages in other libraries. Each integration needs the extra of its name."""

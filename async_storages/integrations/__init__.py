"""The older library's integrations."""

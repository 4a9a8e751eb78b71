"""What tests of an app, or of a storage backend, need: real servers."""

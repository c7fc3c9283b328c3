"""The HTTP API: health, one-off detection, and the documents that are in force."""

"""The version of Backsight that runs."""

import functools
import importlib.metadata


@functools.cache
def version() -> str:
    """The version that is installed."""
    try:
        return importlib.metadata.version("backsight")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

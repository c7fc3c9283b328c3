"""Detection events in Parquet files, written once each from Kafka and read again by replay. See docs/archive.md."""

import importlib
from pathlib import Path
from typing import Any

from replay.history import Source


class BadArchive(RuntimeError):
    """The folder is no archive, is one of something else, or lacks what it says it holds. Says which and where."""


def open_source(folder: Path) -> Source:
    """The archive in ``folder`` as a history to judge, as it is now. Raises `BadArchive`, also without pyarrow."""
    source: Source = needing_pyarrow("replay.archive.source").ArchiveSource(folder)
    return source


def needing_pyarrow(module: str) -> Any:
    """Imports one of the modules here that need the extra `archive`. Raises `BadArchive` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise BadArchive(
            "the archive needs the package pyarrow, which is not installed; install Backsight with the extra `archive` "
            "(.venv/bin/python -m pip install pyarrow)"
        ) from None

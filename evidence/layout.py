"""Where the evidence of an alert lies below the store's root. Pure.

`YYYY-MM-DD/ALERT_ID/FILE`, the day being that of the opening (UTC); under `_PREFIX/` where the topics have a prefix.
"""

import re
from datetime import UTC, datetime
from typing import Final, Literal

File = Literal["evidence.jpg", "clean.jpg", "clip.mp4", "alert.json"]

_OURS: Final = re.compile(
    r"(_[^/]+/)?\d{4}-\d\d-\d\d/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/(evidence\.jpg|clean\.jpg|clip\.mp4|alert\.json)"
)


def path_of(prefix: str, alert_id: str, opened_at: int, file: File) -> str:
    """The path of a file of the alert's evidence. ``opened_at``: milliseconds UTC."""
    below = f"_{prefix}/" if prefix else ""
    return f"{below}{datetime.fromtimestamp(opened_at // 1000, UTC):%Y-%m-%d}/{alert_id}/{file}"


def is_ours(path: str) -> bool:
    """Whether a file has the name of evidence; nothing else is ever removed."""
    return _OURS.fullmatch(path) is not None

"""The report on disk: `index.html`, and `pictures/` beside it where they are too many to lie within the page."""

import base64
import hashlib
import re
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from replay.comparison import Comparison
from replay.diff import KINDS, SIGNS
from replay.report.cards import Href
from replay.report.drawing import Picture
from replay.report.page import Page, chosen, page_of
from replay.report.pictures import PictureFinder
from replay.report.words import moment
from runtime.frame_records import FrameRecords
from runtime.marks import read_marks
from runtime.picture_memory import PictureMemory
from runtime.settings import Settings
from runtime.store import BadStore

MOST_INSIDE: Final = 10 * 1024 * 1024
"""Bytes of pictures that lie within the page; more lie beside it."""
NEAR_MS: Final = 3_000
"""A kept picture this far from an alert still shows it; farther where the memory keeps fewer than one in 1.5 s."""

_OURS: Final = re.compile(r"[0-9a-f]{24}\.jpg")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def write_report(settings: Settings, comparison: Comparison, folder: Path) -> Path:
    """Writes the report into the folder (made where it is absent, an older report replaced) and answers its page.

    Reads marks, frames and the picture memory. Raises `BrokerUnreachable` where the marks cannot be read, and `OSError`
    where the folder cannot be written; pictures that cannot be reached are said on the page instead.
    """
    marks = read_marks(settings.kafka, settings.prefix)
    places = chosen(comparison, marks)
    troubles: list[str] = []
    kept = settings.services.picture_memory
    memory = None
    try:
        memory = PictureMemory(kept.url, settings.prefix)
    except BadStore as bad:
        troubles.append(f"the picture memory could not be read: {bad}")
    with closing(FrameRecords(settings.kafka, "backsight-report")) as frames:
        finder = PictureFinder(frames, memory, max(NEAR_MS, round(2 * kept.every_seconds * 1000)))
        pictures = finder.find([comparison.differences[place] for place in places])
    href = place_pictures([each for each in pictures if each is not None], folder)
    page = page_of(comparison, marks, places, pictures, href, (*troubles, *finder.troubles))
    path = folder / "index.html"
    written = folder / "index.html.part"
    written.write_text(render(page), encoding="utf-8")
    written.replace(path)
    return path


def place_pictures(pictures: Sequence[Picture], folder: Path, most_inside: int = MOST_INSIDE) -> Href:
    """Makes the folder, writes the pictures beside the page where they are too many, and answers where it finds each.

    Pictures of an earlier report are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "pictures"
    inside = sum(len(each.jpeg) for each in pictures) <= most_inside
    named = {} if inside else {name_of(each): each for each in pictures}
    if beside.is_dir():
        for old in beside.iterdir():
            if _OURS.fullmatch(old.name) and old.name not in named:
                old.unlink()
        with suppress(OSError):  # something else is in it, or it is needed
            if not named:
                beside.rmdir()
    if named:
        beside.mkdir(exist_ok=True)
    for name, picture in named.items():
        (beside / name).write_bytes(picture.jpeg)
    if inside:
        return lambda picture: "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode()
    return lambda picture: f"pictures/{name_of(picture)}"


def name_of(picture: Picture) -> str:
    """The picture's file, named by what is in it."""
    return f"{hashlib.sha256(picture.jpeg).hexdigest()[:24]}.jpg"


def render(page: Page) -> str:
    """The page as HTML. Whatever comes from documents and messages is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["moment"] = moment
    return environment.get_template("report.html.j2").render(page=page, kinds=KINDS, signs=SIGNS)


def _printable(value: Any) -> Any:
    """HTML has no way to write control characters, so they are shown as what they are: something unreadable."""
    if not isinstance(value, str) or isinstance(value, Markup):  # what a macro answers was looked at when it was made
        return value
    return _UNPRINTABLE.sub("\ufffd", value)

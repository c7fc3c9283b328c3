"""Writes the tables of docs/scaling.md: `python -m cli.scaling_page`; `--check` says if they are in step."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cli.plan_tables import amount, size
from runtime.capacity import Load, disk
from runtime.sizing import DETECTORS, Site, cameras_per_detector, changes, needs

PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
COUNTS: Final = (10, 100, 1000, 10_000)
RATES: Final = (1.0, 2.0, 5.0, 10.0)
_BLOCK: Final = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main_streams(cameras: int, detector: str = "t4") -> Site:
    """1080p at 25 fps in, 5 frames a second of 1280 pixels out: nothing set."""
    return Site(Load(cameras, fps=5.0, width=1280, replication=3), DETECTORS[detector])


def sub_streams(cameras: int, detector: str = "t4") -> Site:
    """640 × 360 at 5 fps in and out: what the cameras' second streams give."""
    load = Load(cameras, fps=5.0, width=640, replication=3)
    return Site(load, DETECTORS[detector], source_width=640, source_fps=5.0, camera_mbit=0.5)


def tables() -> dict[str, str]:
    """Every table of the page by its name."""
    return {
        "main-streams": _sizes([main_streams(cameras) for cameras in COUNTS]),
        "sub-streams": _sizes([sub_streams(cameras) for cameras in COUNTS]),
        "cameras-per-device": _rows(
            ("device", *(f"{rate:g} fps" for rate in RATES), "from"),
            (
                (
                    f"{known.name} (`--detector {name}`)",
                    *(f"{cameras_per_detector(Site(Load(1, rate, 1280), known)):,}" for rate in RATES),
                    known.source,
                )
                for name, known in DETECTORS.items()
            ),
        ),
        "changes": _rows(
            ("change", "main streams", "sub-streams", "when", "what to do"),
            (
                (main.name, _from(main.cameras), _from(sub.cameras), main.why, main.do)
                for main in changes(main_streams(1))
                for sub in changes(sub_streams(1))
                if main.name == sub.name
            ),
        ),
    }


def page(text: str) -> str:
    """The page with its tables as they are now."""
    made = tables()
    return _BLOCK.sub(lambda found: f"{found.group(1)}{made[found.group(2)]}{found.group(3)}", text)


def main(arguments: list[str]) -> int:
    """Writes, or with `--check` compares."""
    text = PAGE.read_text(encoding="utf-8")
    if page(text) == text:
        return 0
    if "--check" in arguments:
        sys.stderr.write("docs/scaling.md is out of step; run `python -m cli.scaling_page`\n")
        return 1
    PAGE.write_text(page(text), encoding="utf-8")
    return 0


def _sizes(sites: list[Site]) -> str:
    columns = [[*((need.name, amount(need)) for need in needs(site)), *_disks(site)] for site in sites]
    rows = ((names[0][0], *(value for _, value in names)) for names in zip(*columns, strict=True))
    return _rows(("cameras", *(f"{site.load.cameras:,}" for site in sites)), rows)


def _disks(site: Site) -> Iterable[tuple[str, str]]:
    stores = disk(site.load)
    for store in stores:
        yield f"disk for {store.name}", size(store.size)
    yield "`frames` holds", f"{stores[0].kept_ms / 60_000:.1f} min"


def _from(cameras: int | None) -> str:
    return "–" if cameras is None else f"{cameras:,}"


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Histories for property tests: detection events, documents and when they apply, drawn small so that they meet."""

from itertools import accumulate
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.effective import ActiveRange, Anchor, CameraRules, Point, RoiRules, revision_of
from schemas.messages import Detection, DetectionEvent, FrameRef, Model, Skipped
from tests.support.reference import Published

CAMERA = "cam_yard"
START = 1_790_000_000_000  # a Monday in September 2026, 16:13:20 in Madrid
SIZE = (1600, 800)
MODEL = Model("yard", "1", "ab" * 32)
LABELS = ("object", "person")
EVERY_LABEL = (*LABELS, "pine", "cat")  # pine is allowed, cat is in neither list

SQUARE: tuple[Point, ...] = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
TRIANGLE: tuple[Point, ...] = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
NOTCHED: tuple[Point, ...] = ((0.125, 0.125), (0.875, 0.125), (0.875, 0.875), (0.5, 0.375), (0.125, 0.875))

ANCHORS: tuple[Anchor, ...] = (
    "top_left", "top_center", "top_right",
    "center_left", "center", "center_right",
    "bottom_left", "bottom_center", "bottom_right",
    0.3, 0.77,
)  # fmt: skip


def pixels(polygon: tuple[Point, ...], size: tuple[int, int] = SIZE) -> tuple[Point, ...]:
    """A polygon of fractions in pixels of a picture."""
    return tuple((x * size[0], y * size[1]) for x, y in polygon)


def roi(name: str = "zone", **changes: Any) -> RoiRules:
    """A ROI over the middle of the picture, with the defaults of the document."""
    values: dict[str, Any] = {
        "name": name,
        "points": SQUARE,
        "units": "fractions",
        "reference_size": None,
        "anchors": dict.fromkeys(LABELS, "bottom_center"),
        "min_confidence": 0.25,
        "confirm_hits": 3,
        "confirm_within_ms": 2000,
        "resolve_after_ms": 5000,
        "debounce_window_ms": 30_000,
        "severity": "warning",
        "active": None,
    }
    return RoiRules(**values | changes)


def rules(*rois: RoiRules, labels: tuple[str, ...] = ("object",), camera: str = CAMERA) -> CameraRules:
    """A camera's rules; `pine` is allowed."""
    return CameraRules(camera, rois, ("pine",), labels)


def published(document: CameraRules, effective_from: int = 0) -> Published:
    """The document with its revision, from an instant on."""
    return Published(effective_from, revision_of(document), document)


def box_at(x: float = 0.5, y: float = 0.5) -> tuple[float, float, float, float]:
    """A small box whose bottom centre is this point."""
    return (x - 0.0625, y - 0.125, x + 0.0625, y)


def seen(label: str = "object", confidence: float = 0.9, x: float = 0.5, y: float = 0.5) -> Detection:
    """A detection whose bottom centre is at a point, by default amid the picture."""
    return Detection(label, confidence, box_at(x, y))


def event(
    at: int,
    *detections: Detection,
    skipped: Skipped | None = None,
    camera: str = CAMERA,
    size: tuple[int, int] = SIZE,
) -> DetectionEvent:
    """An event ``at`` milliseconds after `START`."""
    width, height = (0, 0) if skipped == "offline" else size
    frame = FrameRef("frames", 0, abs(at))
    return DetectionEvent(camera, START + at, abs(at), frame, width, height, 0.1, MODEL, detections, skipped)


_sixteenths = st.integers(0, 15)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """A box on a grid of sixteenths, so that edges are met often and exactly."""
    x, y = draw(_sixteenths), draw(_sixteenths)
    wide, high = draw(st.integers(1, 16 - x)), draw(st.integers(1, 16 - y))
    return (x / 16, y / 16, (x + wide) / 16, (y + high) / 16)


def detections() -> st.SearchStrategy[Detection]:
    """Mostly an object amid the picture, so that hits are many."""
    return st.builds(
        Detection,
        label=st.sampled_from(("object", *EVERY_LABEL)),
        confidence=st.sampled_from((0.1, 0.25, 0.5, 0.9)),
        box=st.one_of(st.just(box_at()), boxes()),
    )


_GAPS = (*[200] * 8, 500, 500, 1000, 1000, 1000, 3000, 3000, 5000, 5000, 12_000, 400_000, 0, -700)


def steps() -> st.SearchStrategy[int]:
    """Milliseconds from one event to the next; 0 is a duplicate, less is late."""
    return st.sampled_from(_GAPS)


@st.composite
def histories(draw: st.DrawFn, longest: int = 40) -> list[DetectionEvent]:
    """One camera's events, mostly as many as allowed, with skips, duplicates and late ones among them."""
    size = draw(st.sampled_from((longest, longest, longest // 2, 3, 1)))
    drawn = draw(st.lists(st.tuples(steps(), st.one_of(_usual, _usual, _unusual)), min_size=size, max_size=size))
    instants = accumulate(gap for gap, _ in drawn)
    return [
        event(max(at, 0), skipped=what) if isinstance(what, str) else event(max(at, 0), *what)
        for at, (_, what) in zip(instants, drawn, strict=True)
    ]


_usual = st.sampled_from(((seen(),), (seen(confidence=0.5),), (seen(), seen("pine")), (seen("person"),), (), ()))
_unusual = st.one_of(
    st.sampled_from(("stale", "undecodable", "offline")), st.lists(detections(), max_size=3).map(tuple)
)


def active_ranges() -> st.SearchStrategy[ActiveRange]:
    """Ranges that begin or end near the histories' own time, in zones east and west."""
    return st.builds(
        ActiveRange,
        days=st.sampled_from(((0,), (0, 1, 2, 3, 4), (6,), (5, 6), tuple(range(7)))),
        start_minute=st.sampled_from((0, 6 * 60, 16 * 60 + 14, 22 * 60)),
        end_minute=st.sampled_from((6 * 60 + 1, 16 * 60 + 13, 16 * 60 + 17, 1440)),
        timezone=st.sampled_from(("Europe/Madrid", "America/New_York", "Asia/Kolkata", "UTC")),
    )


def durations() -> st.SearchStrategy[dict[str, Any]]:
    """Settings that fit the steps of `histories`."""
    return st.fixed_dictionaries(
        {
            "confirm_hits": st.sampled_from((1, 2, 2, 3, 4)),
            "confirm_within_ms": st.sampled_from((0, 400, 2000, 20_000, 300_000)),
            "resolve_after_ms": st.sampled_from((1, 200, 700, 1000, 3000, 5000, 9000)),
            "debounce_window_ms": st.sampled_from((0, 1000, 10_000, 30_000)),
            "severity": st.sampled_from(("info", "critical")),
        }
    )


@st.composite
def rois(draw: st.DrawFn, name: str, with_active: bool = True) -> RoiRules:
    """A ROI of any shape, place and time."""
    polygon = draw(st.sampled_from((SQUARE, SQUARE, TRIANGLE, NOTCHED)))
    units, reference = draw(st.sampled_from((("fractions", None), ("pixels", None), ("pixels", (400, 400)))))
    ranges = st.lists(active_ranges(), min_size=1, max_size=2).map(tuple)
    return roi(
        name,
        points=polygon if units == "fractions" else pixels(polygon, reference or SIZE),
        units=units,
        reference_size=reference,
        anchors={label: draw(st.sampled_from(("bottom_center", *ANCHORS))) for label in LABELS},
        min_confidence=draw(st.sampled_from((0.1, 0.25, 0.5))),
        active=draw(st.one_of(st.none(), st.none(), ranges)) if with_active else None,
        **draw(durations()),
    )


def plain_rois(name: str) -> st.SearchStrategy[RoiRules]:
    """A ROI amid the picture that is always active: it is hit often, so that much happens in few events."""
    return durations().map(lambda drawn: roi(name, **drawn))


@st.composite
def documents(draw: st.DrawFn, with_active: bool = True) -> CameraRules:
    """A camera's rules; now and then none at all."""
    if draw(st.booleans()):
        return rules(draw(plain_rois("zone")))
    names = draw(st.sampled_from((("zone",), ("zone", "belt"), ("belt", "zone"), ("zone", "belt", "gate"), ())))
    labels = draw(st.sampled_from((("object",), ("object", "person"), ("person", "object"), ("person",))))
    return rules(*(draw(rois(name, with_active)) for name in names), labels=labels if names else ())


@st.composite
def timelines(draw: st.DrawFn, most: int = 3) -> list[Published]:
    """Documents that follow one another within a history, the first sometimes later than its begin.

    Those that follow differ from the one before by their durations, by a ROI more or less, or in everything.
    """
    document = draw(documents())
    timeline = [published(document, draw(st.sampled_from((0, 0, 0, START + 1000))))]
    begin = START
    for _ in range(draw(st.integers(0, most - 1))):
        begin += draw(st.sampled_from((1100, 2000, 5000, 20_000)))
        change = draw(st.sampled_from(("durations", "gone", "back", "other")))
        if change == "durations":
            document = replace(document, rois=tuple(replace(each, **draw(durations())) for each in document.rois))
        elif change == "gone":
            document = replace(document, rois=document.rois[1:])
        elif change == "back":
            document = timeline[0].rules
        else:
            document = draw(documents())
        timeline.append(published(document, begin))
    return timeline

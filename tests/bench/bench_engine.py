"""The engine against the plain way: msgspec and prepared shapely polygons, every box in every ROI, event by event.

Both decode the same bytes, judge by the same rules and encode their alerts; the alerts must be equal to the byte.
CPU time of the process, the two ways by turns, the median of the ratios of each turn.
"""

import random
from math import cos, pi, sin
from statistics import median
from time import process_time
from typing import Any

from shapely.geometry import Point, Polygon
from shapely.prepared import prep

from rules.engine import compile_rules, step
from rules.state import NEW_CAMERA
from schemas.codec import decode, encode
from schemas.effective import CameraRules, RoiRules, revision_of
from schemas.messages import Alert, Detection, DetectionEvent, Evidence, FrameRef, Model, alert_id

CAMERAS = 8
EVENTS = 1_000
"""Per camera: 200 s at 5 a second."""

TURNS = 5
BOXES = 5
MODEL = Model("yard", "1", "0" * 64)
START = 1_790_000_000_000


def document_of(camera: str, rois: int, chance: random.Random) -> CameraRules:
    """ROIs of 6 to 12 corners around places of their own, in pixels of a 1080p picture."""

    def polygon() -> tuple[tuple[float, float], ...]:
        x, y, corners = chance.uniform(200, 1700), chance.uniform(200, 900), chance.randint(6, 12)
        turns = [2 * pi * corner / corners for corner in range(corners)]
        return tuple(
            (x + cos(turn) * chance.uniform(40, 160), y + sin(turn) * chance.uniform(40, 160)) for turn in turns
        )

    return CameraRules(
        camera,
        tuple(
            RoiRules(
                name=f"roi_{number}",
                points=polygon(),
                units="pixels",
                reference_size=(1920, 1080),
                anchors={"object": "bottom_center"},
                min_confidence=0.25,
                confirm_hits=3,
                confirm_within_ms=2000,
                resolve_after_ms=5000,
                debounce_window_ms=30_000,
                severity="warning",
                active=None,
            )
            for number in range(rois)
        ),
        ("pine", "worker"),
        ("object",),
    )


def history_of(camera: str, objects: int, chance: random.Random) -> list[bytes]:
    """Boxes that walk across the picture; so many of the five in a frame are of the alert class."""
    places = [(chance.random(), chance.random()) for _ in range(BOXES)]
    events = []
    for number in range(EVENTS):
        places = [
            ((x - 0.05 + chance.gauss(0, 0.01)) % 0.9 + 0.05, (y - 0.15 + chance.gauss(0, 0.01)) % 0.8 + 0.15)
            for x, y in places
        ]
        detections = tuple(
            Detection(
                "object" if place < objects else "pine",
                round(chance.uniform(0.3, 1), 4),
                (x - 0.02, y - 0.1, x + 0.02, y),
            )
            for place, (x, y) in enumerate(places)
        )
        frame = FrameRef("frames", 0, number)
        at = START + number * 200
        events.append(encode(DetectionEvent(camera, at, number, frame, 1920, 1080, 0.1, MODEL, detections)))
    return events


def judged_by_engine(document: CameraRules, history: list[bytes]) -> list[bytes]:
    """The product's way."""
    compiled = compile_rules(document, revision_of(document), 0)
    state, sent = NEW_CAMERA, []
    for value in history:
        judged = step(compiled, state, decode(DetectionEvent, value))
        sent += [encode(alert) for alert in judged.alerts]
        state = judged.state
    return sent


def judged_plainly(document: CameraRules, history: list[bytes]) -> list[bytes]:
    """The plain way: a dictionary per ROI, `Point` and `covers` per box and ROI."""
    revision = revision_of(document)
    shapes = [
        (roi, prep(Polygon([(x / 1920, y / 1080) for x, y in roi.points])), {"hits": [], "suppressed": 0, "last": None})
        for roi in document.rois
    ]
    sent: list[bytes] = []
    watched_at = -1
    for value in history:
        event = decode(DetectionEvent, value)
        now = event.captured_at
        for roi, shape, known in shapes:
            inside = [
                each
                for each in event.detections
                if each.label in document.alert_classes
                and each.confidence >= roi.min_confidence
                and shape.covers(Point((each.box[0] + each.box[2]) / 2, each.box[3]))
            ]
            sent += _plain_subject(event, roi, revision, known, inside, now, watched_at)
        watched_at = now
    return sent


def _plain_subject(
    event: DetectionEvent,
    roi: RoiRules,
    revision: str,
    known: dict[str, Any],
    inside: list[Detection],
    now: int,
    watched_at: int,
) -> list[bytes]:
    sent = []
    stay = known.get("stay")
    if stay is not None and now >= stay["last"] + roi.resolve_after_ms:
        end = stay["last"] + roi.resolve_after_ms
        if stay["said"] is None:
            known["suppressed"] += 1
        else:
            reason = "quiet" if stay["last"] < watched_at <= end or now == end else "blind"
            ending = {"last_hit_at": stay["last"], "resolved_at": end, "reason": reason, "hits": stay["count"]}
            sent.append(encode(Alert(seq=1, phase="resolved", **ending, **stay["said"])))
        stay = known["stay"] = None
        known["hits"] = []
        if now == end:
            inside = []
    if not inside:
        return sent
    if stay is None:
        known["hits"] = [hit for hit in known["hits"] if now - hit <= roi.confirm_within_ms] + [now]
        if len(known["hits"]) < roi.confirm_hits:
            return sent
        stay = known["stay"] = {"first": known["hits"][0], "count": len(known["hits"]), "said": None}
    else:
        stay["count"] += 1
    stay["last"] = now
    if stay["said"] is None and (known["last"] is None or now >= known["last"] + roi.debounce_window_ms):
        best = max(inside, key=lambda each: each.confidence)
        stay["said"] = {
            "alert_id": alert_id(event.camera_id, roi.name, "object", None, revision, now),
            "camera_id": event.camera_id,
            "roi": roi.name,
            "label": "object",
            "track_id": None,
            "severity": roi.severity,
            "first_hit_at": stay["first"],
            "opened_at": now,
            "suppressed": known["suppressed"],
            "evidence": Evidence(event.frame, best.box, best.confidence, now),
            "model": event.model,
            "roi_revision": revision,
        }
        known["last"], known["suppressed"] = now, 0
        opening = {"last_hit_at": now, "resolved_at": None, "reason": None, "hits": stay["count"]}
        sent.append(encode(Alert(seq=0, phase="opened", **opening, **stay["said"])))
    return sent


def compared(title: str, rois: int, objects: int) -> float:
    """Runs both ways by turns, prints a line, answers the ratio of their CPU times."""
    chance = random.Random(20_261_123)
    cameras = [f"cam_{number}" for number in range(CAMERAS)]
    work = [(document_of(camera, rois, chance), history_of(camera, objects, chance)) for camera in cameras]
    ratios, plain_us, engine_us, alerts, hits = [], [], [], 0, 0
    for _ in range(TURNS):
        began = process_time()
        plain = [judged_plainly(*each) for each in work]
        between = process_time()
        ours = [judged_by_engine(*each) for each in work]
        ended = process_time()
        assert ours == plain, "the two ways disagree"
        alerts = sum(map(len, ours))
        ratios.append((between - began) / (ended - between))
        plain_us.append((between - began) / CAMERAS / EVENTS * 1e6)
        engine_us.append((ended - between) / CAMERAS / EVENTS * 1e6)
    for document, history in work:
        compiled, state = compile_rules(document, "r", 0), NEW_CAMERA
        for value in history:
            judged = step(compiled, state, decode(DetectionEvent, value))
            state = judged.state
            hits += judged.hits > 0
    share = hits / CAMERAS / EVENTS
    print(
        f"{title:38} plain {median(plain_us):6.1f} µs  engine {median(engine_us):5.1f} µs  ratio {median(ratios):5.1f}"
        f"  ({share:.0%} of events hit, {alerts} equal alerts)"
    )
    return median(ratios)


def main() -> None:
    """Two kinds of history, and what decoding alone takes."""
    compared("10 ROIs, 1 of 5 boxes to be judged", 10, 1)
    compared("10 ROIs, all 5 boxes to be judged", 10, 5)
    compared("4 ROIs, all 5 boxes to be judged", 4, 5)
    value = history_of("cam_0", 1, random.Random(1))[0]
    began = process_time()
    for _ in range(20_000):
        decode(DetectionEvent, value)
    print(f"of which decoding takes                {(process_time() - began) / 20_000 * 1e6:.1f} µs in both")


if __name__ == "__main__":
    main()

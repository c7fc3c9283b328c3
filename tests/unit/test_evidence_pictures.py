"""The picture of an alert: what is drawn, what is said under it, and where it is kept."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from evidence.drawing import _rows, evidence_picture
from evidence.keeping import evidence_of, keep, roi_in
from evidence.layout import is_ours, path_of
from evidence.store import Account, EvidenceStore
from evidence.telling import anchor_point, caption
from evidence.trouble import Trouble
from inference.annotate import AMBER, RED, fits
from rules.kinds import PictureSize
from runtime.frame_records import Frame
from schemas.effective import CameraRules, RoiRevision, RoiRules
from schemas.frames import FrameHead
from schemas.messages import Alert
from schemas.topics import DAY
from tests.support.alerts import OPENED_AT, opened

ALERT = opened()
SOURCE = PictureSize(1280, 720)


def roi(name: str = "loading_zone", **keys: object) -> RoiRules:
    rules = RoiRules(
        name=name,
        points=((0.1, 0.2), (0.9, 0.2), (0.9, 0.9), (0.1, 0.9)),
        units="fractions",
        reference_size=None,
        anchors={"object": "bottom_center"},
        min_confidence=0.25,
        confirm_hits=3,
        confirm_within_ms=2000,
        resolve_after_ms=5000,
        debounce_window_ms=30000,
        severity="critical",
        active=None,
    )
    return structs.replace(rules, **keys)


def grey(width: int = 640, height: int = 360) -> bytes:
    content: bytes = simplejpeg.encode_jpeg(np.full((height, width, 3), 90, np.uint8))
    return content


def drawn(alert: Alert = ALERT, rules: RoiRules | None = None, width: int = 640, height: int = 360) -> np.ndarray:
    return simplejpeg.decode_jpeg(evidence_picture(grey(width, height), alert, rules, SOURCE, 95))


def near(picture: np.ndarray, x: float, y: float, colour: tuple[int, int, int], reach: int = 4) -> bool:
    """Whether a pixel around the point (fractions of 640 x 360) has about the colour."""
    column, row = round(x * 640), round(y * 360)
    spot = picture[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach].astype(int)
    return bool((np.abs(spot - colour).max(axis=-1) < 60).any())


def test_polygon_box_and_anchor_point_are_drawn_where_they_are():
    picture = drawn(rules=roi())
    assert near(picture, 0.9, 0.6, AMBER), "the polygon's right edge"
    assert near(picture, 0.25, 0.65, RED), "the box's left edge"
    assert near(picture, 0.375, 0.75, RED, 2), "the anchor"
    assert not near(picture, 0.95, 0.95, AMBER)


def test_a_polygon_in_pixels_is_placed_by_the_size_of_the_camera_s_picture():
    pixels = roi(units="pixels", points=((128, 144), (1152, 144), (1152, 648), (128, 648)))
    assert (drawn(rules=pixels) == drawn(rules=roi())).all()


def test_the_words_stand_under_the_picture_and_hide_nothing_of_it():
    picture = drawn()
    assert picture.shape[1] == 640
    assert picture.shape[0] > 360 + 30
    strip = picture[364:]
    assert (strip > 200).any(), "letters"
    assert np.median(strip) < 60, "on a dark ground"


@pytest.mark.parametrize(("width", "more"), [(160, 4), (320, 2), (640, 1)])
def test_long_names_make_more_lines_and_no_smaller_letters(width, more):
    name = "zona_de_carga_numero_3_muelle_exterior_junto_a_la_bascula_norte"
    rows = [drawn(structs.replace(ALERT, camera_id=each, roi=each), width=width).shape[0] for each in ("c", name)]
    assert rows[1] >= rows[0] + more * 15, "letters of 11 pixels"


def test_a_line_is_broken_between_its_parts_and_nothing_of_it_is_lost():
    line = "critical · " + "x" * 80 + " · object 87%"
    broken = _rows(line, 11, 300)
    assert broken[0] == "critical"
    assert all(fits(row, 11, 300) == len(row) for row in broken)
    assert "".join(broken).replace(" · ", "") == line.replace(" · ", "")
    assert _rows("critical · gate", 11, 300) == ["critical · gate"]


@pytest.mark.parametrize("box", [(0.3, 0.5, 0.6, 1.0), (0.9, 0.5, 1.0, 1.0), (0.0, 0.5, 0.0, 1.0)])
def test_the_anchor_is_whole_also_where_the_picture_ends(box):
    alert = structs.replace(ALERT, evidence=structs.replace(ALERT.evidence, box=box))
    foot = drawn(alert, roi(anchors={"object": "bottom_center"}))[340:360].astype(int)
    x = min(639, round((box[0] + box[2]) * 320))
    ring = foot[:, max(0, x - 12) : x + 12].min(axis=-1) > 190
    assert ring.any(axis=1).sum() >= 3
    assert ring[-3:].any(), "below the point too"


def test_what_when_where_and_by_which_rules_is_said():
    said = "\n".join(caption(ALERT, roi()))
    for words in (
        "critical",
        "cam_nave3_hornos",
        "loading_zone",
        "object 87%",
        "2023-11-14T22:13:20Z",
        "0123456789abcdef",
        "bottom_center",
        ALERT.alert_id,
        "yard 1",
    ):
        assert words in said, words


def test_a_revision_that_is_not_known_is_said_and_the_box_still_drawn():
    assert "revision 0123456789abcdef is not known" in caption(ALERT, None)[1]
    assert near(drawn(rules=None), 0.25, 0.65, RED)


def test_a_share_of_the_box_has_no_anchor_point_and_is_said():
    share = roi(anchors={"object": 0.3})
    assert anchor_point(share, "object", ALERT.evidence.box) is None
    assert "30% of the box" in caption(ALERT, share)[1]


def test_words_beyond_ascii_are_letters_and_no_question_marks():
    umlaut, question = (drawn(structs.replace(ALERT, roi=name), None) for name in ("Ñó Łż Жд 掛け", "?? ?? ?? ??"))
    assert (umlaut[364:] != question[364:]).any()


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(16, 400),
    height=st.integers(16, 400),
    name=st.text(max_size=100),
    label=st.text(min_size=1, max_size=100),
    box=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_no_name_box_or_size_breaks_the_picture(width, height, name, label, box):
    evidence = structs.replace(ALERT.evidence, box=box)
    alert = structs.replace(ALERT, roi=name, label=label, evidence=evidence)
    assert drawn(alert, roi(anchors={label: "center"}), width, height).shape[1] == width


# What is looked up


class Frames:
    """One frame at one place."""

    def __init__(self, *frames: Frame) -> None:
        self.frames = frames

    def read(self, refs):
        return iter([(ref, frame) for ref in refs for frame in self.frames])


def frame(camera: str = "cam_nave3_hornos", at: int = OPENED_AT, jpeg: bytes | None = None) -> Frame:
    return Frame(camera, FrameHead(1, at, at, "live", 640, 360, 1280, 720), grey() if jpeg is None else jpeg)


def found(*frames: Frame):
    return evidence_of(ALERT, Frames(*frames), lambda _alert: roi(), 85)


def test_the_clean_frame_is_kept_to_the_byte_beside_the_drawn_one():
    jpeg = grey()
    evidence = found(frame(jpeg=jpeg))
    assert evidence.clean == jpeg
    assert evidence.drawn is not None
    assert evidence.drawn != jpeg
    assert evidence.missing is None


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ((), "no longer on frames (partition 0, offset 0)"),
        ((frame("another"),), "another frame lies at frames"),
        ((frame(at=OPENED_AT + 1),), "another frame lies at frames"),
        ((frame(jpeg=b"\xff\xd8\xff no picture"),), "does not decode"),
    ],
)
def test_where_there_is_no_picture_it_is_said_why(frames, words):
    evidence = found(*frames)
    assert (evidence.clean, evidence.drawn) == (None, None)
    assert words in (evidence.missing or "")


def test_a_picture_that_cannot_be_drawn_costs_neither_the_frame_nor_the_next_alert(tmp_path):
    """A polygon without a point is refused everywhere else; here it stands for whatever nobody thought of."""
    evidence = evidence_of(ALERT, Frames(frame()), lambda _alert: roi(points=()), 85)
    assert evidence.clean == grey()
    assert (evidence.missing or "").startswith("the picture could not be drawn")
    store = EvidenceStore(str(tmp_path))
    keep(store, ALERT, evidence, OPENED_AT)
    assert store.find(ALERT.alert_id, OPENED_AT, "clean.jpg") == grey()
    keep(store, ALERT, found(frame()), OPENED_AT + 1)
    assert store.account(ALERT.alert_id, OPENED_AT) == Account(ALERT, OPENED_AT + 1), "a better one takes its place"
    keep(store, ALERT, found(), OPENED_AT + 2)
    assert store.account(ALERT.alert_id, OPENED_AT) == Account(ALERT, OPENED_AT + 1), "a worse one does not"


def test_attempts_come_farther_apart_and_two_minutes_of_them_are_said():
    trouble, now, times = Trouble(), 0.0, []
    while now < 200:
        if trouble.may_try(now):
            times.append(now)
            trouble.failed(now)
        now += 1
    assert times == [0, 1, 3, 8, 18, 48, 78, 108, 138, 168, 198]
    assert trouble.stuck(120) is None
    assert trouble.stuck(150) == "evidence could not be kept for 150 s"
    trouble.over()
    assert trouble.may_try(0)
    assert trouble.stuck(1000) is None


def test_the_roi_is_that_of_the_revision_the_alert_was_judged_by():
    def revision(name: str, rules: RoiRules) -> RoiRevision:
        return RoiRevision("cam_nave3_hornos", name, 0, 0, "file", CameraRules("cam_nave3_hornos", (rules,)))

    judged, later = roi(min_confidence=0.5), roi(min_confidence=0.9)
    assert roi_in([revision("f" * 16, later), revision("0123456789abcdef", judged)], ALERT) == judged
    assert roi_in([revision("f" * 16, later)], ALERT) is None
    assert roi_in([revision("0123456789abcdef", roi("another"))], ALERT) is None


# Where it lies


@pytest.fixture(params=["folder", "object store"])
def url(request, tmp_path: Path) -> str:
    return str(tmp_path / "evidence") if request.param == "folder" else f"memory://{uuid4().hex}"


def test_evidence_is_named_by_day_and_alert(url: str):
    assert path_of("", ALERT.alert_id, OPENED_AT, "clean.jpg") == f"2023-11-14/{ALERT.alert_id}/clean.jpg"
    store = EvidenceStore(url, "try.")
    store.put(ALERT.alert_id, OPENED_AT, "clean.jpg", b"1")
    store.put(ALERT.alert_id, OPENED_AT, "clean.jpg", b"2")
    assert store.find(ALERT.alert_id, OPENED_AT, "clean.jpg") == b"2"
    assert store.find(ALERT.alert_id, OPENED_AT, "evidence.jpg") is None
    assert EvidenceStore(url).find(ALERT.alert_id, OPENED_AT, "clean.jpg") is None, "another prefix is another run"


def test_an_account_says_the_alert_and_why_there_is_no_picture(url: str):
    store = EvidenceStore(url)
    assert store.account(ALERT.alert_id, OPENED_AT) is None
    account = Account(ALERT, OPENED_AT + 5, "the frame is gone")
    store.write_account(account)
    assert store.account(ALERT.alert_id, OPENED_AT) == account


@pytest.mark.parametrize("left", [b"", b"{", b"\0" * 300, b'{"kept_at": "x"}'])
def test_an_account_that_a_power_cut_left_unreadable_is_made_again(url: str, left: bytes):
    store = EvidenceStore(url)
    store.put(ALERT.alert_id, OPENED_AT, "alert.json", left)
    assert store.account(ALERT.alert_id, OPENED_AT) is None
    keep(store, ALERT, found(frame()), OPENED_AT)
    assert store.account(ALERT.alert_id, OPENED_AT) == Account(ALERT, OPENED_AT)
    assert store.find(ALERT.alert_id, OPENED_AT, "clean.jpg") == grey()


def test_days_that_have_ended_are_forgotten_for_every_prefix_and_nothing_else_is(url: str):
    for prefix in ("", "try."):
        for number, at in enumerate((OPENED_AT - 3 * DAY, OPENED_AT)):
            alert = opened(number)
            EvidenceStore(url, prefix).put(alert.alert_id, at, "evidence.jpg", b"")
            EvidenceStore(url, prefix).put(alert.alert_id, at, "alert.json", b"")
    store = EvidenceStore(url)
    store._store.put("2023-11-11/notes.txt", b"mine", "write")
    assert store.forget(OPENED_AT - DAY) == 4
    assert store.forget(OPENED_AT - DAY) == 0
    assert store.find(opened(1).alert_id, OPENED_AT, "evidence.jpg") == b""
    assert store._store.find("2023-11-11/notes.txt", "look") == b"mine"


def test_what_a_crash_left_half_written_goes_with_its_day(tmp_path: Path):
    store = EvidenceStore(str(tmp_path))
    store.put(ALERT.alert_id, OPENED_AT, "clean.jpg", b"1")
    whole = next(tmp_path.rglob("clean.jpg"))
    whole.rename(whole.with_name(f"clean.jpg.{uuid4().hex}.part"))
    assert store.find(ALERT.alert_id, OPENED_AT, "clean.jpg") is None
    assert store.forget(OPENED_AT + 2 * DAY) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["notes.txt", "2023-11-14/evidence.jpg", "2023-11-14/not-an-id/evidence.jpg", "x/y.jpg"]
)
def test_only_evidence_has_the_name_of_evidence(name: str):
    assert is_ours(path_of("t.", ALERT.alert_id, OPENED_AT, "clip.mp4"))
    assert not is_ours(name)

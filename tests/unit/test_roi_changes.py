"""What changed between two documents, in words."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.roi_changes import changes
from schemas.documents.rois import CameraRois, RoiDefaults, effective_rules
from schemas.effective import CameraRules

POINTS = [[100, 100], [500, 100], [500, 400]]


def rules(*rois: dict, alert: tuple[str, ...] = ("object",), allowed: tuple[str, ...] = ()) -> CameraRules:
    entry = {
        "camera_id": "gate",
        "forbidden_rois": [{"name": "dock", "points": POINTS, **roi} for roi in rois],
        "alert_classes": alert,
        "allowed_classes": allowed,
    }
    return effective_rules(CameraRois.model_validate(entry), RoiDefaults())


def test_the_first_document_names_its_rois() -> None:
    assert changes(None, rules({}, {"name": "ramp"})) == ["first document: dock, ramp"]
    assert changes(None, rules()) == ["first document: no ROIs"]


def test_rois_come_and_go() -> None:
    assert changes(rules({}), rules({}, {"name": "ramp"})) == ["ramp: added"]
    assert changes(rules({}, {"name": "ramp"}), rules({"name": "ramp"})) == ["dock: removed"]
    assert changes(rules({}), CameraRules("gate")) == ["the camera is gone from the document: nothing is judged"]


def test_keys_are_called_as_they_are_written() -> None:
    after = {
        "confirm": {"hits": 5, "within_seconds": 2.5},
        "resolve_after_seconds": 8,
        "debounce_window_seconds": 60,
        "severity": "critical",
        "reference_size": [1920, 1080],
        "anchor": {"overlap": 0.3},
        "min_confidence": 0.5,
        "active": {"days": ["mon", "fri"], "from": "06:00", "to": "22:30", "timezone": "Europe/Madrid"},
        "points": [*POINTS, [100, 400]],
    }
    (line,) = changes(rules({}), rules(after))
    assert line == (
        "dock: polygon moved (3 → 4 points), reference_size none → 1920 x 1080, "
        "anchor of object bottom_center → overlap 0.3, min_confidence 0.25 → 0.5, confirm.hits 3 → 5, "
        "confirm.within_seconds 2 → 2.5, resolve_after_seconds 5 → 8, debounce_window_seconds 30 → 60, "
        "severity warning → critical, active always → mon, fri 06:00 to 22:30 Europe/Madrid"
    )


def test_labels_and_their_order_are_told() -> None:
    assert changes(rules({}), rules({}, alert=("object", "person"), allowed=("pine",))) == [
        "alert_classes: object → object, person",
        "allowed_classes: none → pine",
    ]


SEVERITY = st.sampled_from(["info", "warning", "critical"])
NAMES = st.lists(st.sampled_from(["dock", "ramp", "gate"]), unique=True)
DOCUMENTS = st.builds(
    lambda names, severity, alert: rules(*({"name": name, "severity": severity} for name in names), alert=tuple(alert)),
    NAMES,
    SEVERITY,
    st.lists(st.sampled_from(["object", "person"]), unique=True, min_size=1),
)


@given(DOCUMENTS, DOCUMENTS)
def test_something_is_told_exactly_when_something_changed(before: CameraRules, after: CameraRules) -> None:
    assert bool(changes(before, after)) == (before != after)

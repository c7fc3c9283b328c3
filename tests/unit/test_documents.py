"""What people write: every mistake at once, each with its place, and no secret in any message."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.configs import check_configs, expand, load_cameras
from runtime.settings import load_settings, redis_notice
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.rois import CameraRois, RoiDefaults, Rois, effective_rules
from schemas.effective import revision_of
from schemas.problems import BadDocument, Problem

CAMERAS = """
cameras:
  - id: cam_nave3_hornos
    name: "Nave 3 Hornos B CAM 3"
    rtsp_url: "rtsp://admin:password@192.168.1.10:554/Streaming/Channels/101"
    enabled: true
    fps_target: 5.0
"""
ROIS = """
cameras:
  - camera_id: cam_nave3_hornos
    forbidden_rois:
      - name: loading_zone
        points: [[100, 100], [500, 100], [500, 400], [100, 400]]
    allowed_classes: [pine, worker]
    alert_classes: [object]
"""


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    (tmp_path / "cameras.yaml").write_text(CAMERAS)
    (tmp_path / "rois.yaml").write_text(ROIS)
    return tmp_path


def rois(text: str) -> Rois:
    return read_document(Rois, read_yaml(text, "rois.yaml"), "rois.yaml")


def roi(**keys: object) -> dict:
    return {"name": "dock", "points": [[100, 100], [500, 100], [500, 400]], **keys}


def entry(**keys: object) -> CameraRois:
    return CameraRois.model_validate(
        {"camera_id": "gate", "alert_classes": ["object"], "forbidden_rois": [roi(**keys)]}
    )


def problems_of(**keys: object) -> list[str]:
    document = {"cameras": [{"camera_id": "gate", "alert_classes": ["object"], "forbidden_rois": [roi(**keys)]}]}
    try:
        return [str(problem) for problem in read_document(Rois, document, "rois.yaml").problems()]
    except BadDocument as bad:
        return [str(problem) for problem in bad.problems]


def test_the_shapes_that_users_have_are_read_as_they_are(configs: Path) -> None:
    checked = check_configs(configs, {}, ["object", "pine", "worker"])
    assert checked.problems == []
    assert checked.warnings == []
    assert checked.cameras[0].camera.label == "Nave 3 Hornos B CAM 3"
    assert checked.cameras[0].url.startswith("rtsp://admin:password@192.168.1.10")


def test_the_defaults_are_those_of_the_architecture() -> None:
    (rules,) = effective_rules(entry(), RoiDefaults()).rois
    assert rules.anchors == {"object": "bottom_center"}
    assert (rules.confirm_hits, rules.confirm_within_ms) == (3, 2000)
    assert (rules.resolve_after_ms, rules.debounce_window_ms) == (5000, 30_000)
    assert (rules.severity, rules.min_confidence, rules.active, rules.units) == ("warning", 0.25, None, "pixels")


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ({"points": [[0, 0], [9, 9]]}, "points", "three points or more"),
        ({"points": [[100, 100], [500, 400], [500, 100], [100, 400]]}, "points", "crosses"),
        ({"points": [[0.1, 0.1], [0.5, 0.1], [0.5, 0.4]]}, "points", "did you mean units: fractions"),
        ({"points": [[0.1, 0.1], [1.5, 0.1], [0.5, 0.4]], "units": "fractions"}, "points", "within 0 to 1"),
        ({"reference_size": [400, 300]}, "points", "outside reference_size"),
        ({"points": [[-5, 0], [9, 0], [9, 9]]}, "points", "left of or above"),
        ({"points": [[1, 1], [5, 5], [9, 9]]}, "points", "crosses or touches itself"),
        ({"confirm": {"hits": 0}}, "confirm.hits", "expected 1 or more"),
        ({"severity": "loud"}, "severity", "'info', 'warning' or 'critical'"),
        ({"debounce": 3}, "debounce", "there is no such key here"),
        ({"active": {"timezone": "Europe/Nowhere"}}, "timezone", "no time zone"),
        ({"active": {"from": "25:00", "timezone": "UTC"}}, "from", "expected text like"),
        ({"active": {"from": "06:00", "to": "06:00", "timezone": "UTC"}}, "active", "whole day"),
        ({"anchors": {"pine": "center"}}, "anchors.pine", "not in alert_classes"),
        ({"anchor": "middle"}, "anchor", "bottom_center"),
        ({"anchor": {"overlap": 1.5}}, "anchor", "expected 1 or less"),
    ],
)
def test_a_wrong_roi_is_refused_with_its_place(keys: dict, place: str, words: str) -> None:
    found = problems_of(**keys)
    assert any(f"cameras[0].forbidden_rois[0].{place}" in text or place in text for text in found), found
    assert any(words in text for text in found), found


def test_a_mistake_that_only_follows_from_another_is_not_said() -> None:
    found = problems_of(active={"days": ["monday"], "from": 22 * 60, "timezone": "UTC"})
    place = "rois.yaml: cameras[0].forbidden_rois[0].active"
    assert found == [
        f"{place}.days[0]: expected 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun'",
        f"{place}.from: expected text; put it in quotes",
    ]


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
"""Eight lists of eight, each eight times the one before: 16 million values in 300 letters."""
ENDLESS = "deep within one another, or one refers to itself"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("&a [*a]", ENDLESS),
        ("&a {x: {y: *a}}", ENDLESS),
        ("[" * 3000 + "]" * 3000, ENDLESS),
        (BOMB, "values once its aliases are written out"),
    ],
)
def test_yaml_that_nobody_could_walk_through_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadDocument, match=f"routes.yaml: .*{words}"):
        read_yaml(text, "routes.yaml")


def test_every_mistake_is_said_at_once() -> None:
    text = """
cameras:
  - camera_id: a
    alert_classes: [x]
    allowed_classes: [x]
    forbidden_rois:
      - {name: one, points: [[1, 1]]}
      - {name: one, points: [[10, 10], [20, 20], [20, 10], [10, 20]]}
  - camera_id: a
"""
    found = [str(problem) for problem in rois(text).problems()]
    assert len(found) == 5
    assert "rois.yaml: cameras[0].forbidden_rois[1].name: 'one' is given twice" in found


def test_a_key_given_twice_is_refused_with_line_and_column() -> None:
    with pytest.raises(BadDocument, match=r"rois.yaml:3:1: key 'cameras' is given twice"):
        read_yaml("cameras: []\n\ncameras: []\n", "rois.yaml")


def test_text_that_is_no_yaml_is_refused_with_line_and_column() -> None:
    with pytest.raises(BadDocument, match=r"rois.yaml:1:"):
        read_yaml("cameras: [", "rois.yaml")


def test_a_confirm_that_the_rate_can_never_satisfy_is_refused(configs: Path) -> None:
    (configs / "rois.yaml").write_text(
        ROIS.replace("    allowed", "        confirm: {hits: 12, within_seconds: 2}\n    allowed")
    )
    (problem,) = check_configs(configs, {}).problems
    assert problem.place == "rois.yaml: cameras[0].forbidden_rois[0].confirm"
    assert "12 hits take at least 2.2 s at fps_target 5" in problem.message


def test_labels_that_the_model_has_and_nobody_lists_are_warned_of(configs: Path) -> None:
    warnings = check_configs(configs, {}, ["pine", "worker", "dog"]).warnings
    assert any("dog: in neither list" in str(warning) for warning in warnings)
    assert any("does not know 'object'" in str(warning) for warning in warnings)


def test_cameras_without_rois_and_rois_without_a_camera_are_warned_of(configs: Path) -> None:
    (configs / "rois.yaml").write_text(ROIS.replace("camera_id: cam_nave3_hornos", "camera_id: other"))
    texts = [str(warning) for warning in check_configs(configs, {}).warnings]
    assert "cameras.yaml: cam_nave3_hornos has no ROIs: it can never alert" in texts
    assert "rois.yaml: cameras[0].camera_id: no enabled camera is called other" in texts


@pytest.mark.parametrize(
    "url",
    [
        "concat:/etc/passwd", "http://host/x", "exec:sh", "-i", "rtsp:host", "pipe:0", "ffmpeg:x", "rtsp://",
        "rtsp://u:s3cretX@/x", "rtsp://u:s3cretX@host:99999/x",
    ],
)  # fmt: skip
def test_a_camera_url_that_is_no_source_is_refused_without_being_repeated(configs: Path, url: str) -> None:
    (configs / "cameras.yaml").write_text(f"cameras: [{{id: a, url: '{url}'}}]")
    with pytest.raises(BadDocument) as refused:
        load_cameras(configs, {})
    assert refused.value.problems[0].place == "cameras.yaml: cameras[0].url"
    assert "s3cretX" not in str(refused.value)


def test_a_password_from_the_environment_is_put_in_encoded(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("p@ss/word\n")
    problems: list[Problem] = []
    by_name = expand("rtsp://admin:${CAM}@host/1", {"CAM": "p@ss/word"}, "x", problems)
    by_file = expand("rtsp://admin:${CAM}@host/1", {"CAM_FILE": str(file)}, "x", problems)
    in_full = expand("rtsp://admin:${CAM_FILE}@host/1", {"CAM_FILE": str(file)}, "x", problems)
    assert by_name == by_file == in_full == "rtsp://admin:p%40ss%2Fword@host/1"
    assert problems == []


def test_a_variable_that_is_not_set_is_named_with_its_place() -> None:
    problems: list[Problem] = []
    expand("rtsp://admin:${CAM}@host/1", {}, "cameras.yaml: cameras[0].url", problems)
    assert str(problems[0]) == "cameras.yaml: cameras[0].url: ${CAM} is not set (nor CAM_FILE)"


def test_a_file_played_fast_needs_a_start(configs: Path) -> None:
    (configs / "cameras.yaml").write_text("cameras: [{id: a, url: clip.mp4, realtime: false}]")
    with pytest.raises(BadDocument, match="needs start_at"):
        load_cameras(configs, {})


def test_a_start_older_than_the_detections_are_kept_is_refused(configs: Path) -> None:
    (configs / "cameras.yaml").write_text(
        "cameras: [{id: a, url: clip.mp4, realtime: false, start_at: 2020-01-01T00:00:00Z}]"
    )
    with pytest.raises(BadDocument, match="older than the 30 days"):
        load_cameras(configs, {})


def test_the_environment_wins_over_the_file(configs: Path) -> None:
    (configs / "services.yaml").write_text("inference: {device: cpu, batch_size: 4}\nrules: {min_confidence: 0.5}\n")
    settings = load_settings(configs, {"INFERENCE_DEVICE": "cuda:1", "INFERENCE_CONFIDENCE": "0.05"})
    assert settings.services.inference.device == "cuda:1"
    assert settings.services.inference.batch_size == 4
    assert settings.roi_defaults.min_confidence == 0.05
    assert settings.floor == 0.05


def test_a_wrong_variable_is_named(configs: Path) -> None:
    with pytest.raises(BadDocument) as refused:
        load_settings(configs, {"INFERENCE_DEVICE": "gpu", "API_PORT": "x", "ALERTING_PROTOCOL": "webhook"})
    places = {problem.place for problem in refused.value.problems}
    assert {"INFERENCE_DEVICE", "API_PORT"} <= places


def test_a_secret_may_stand_in_a_file(configs: Path, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cretX\n")
    settings = load_settings(
        configs, {"KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "pw"), "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}
    )
    assert settings.kafka.client_config()["sasl.password"] == "s3cretX"
    assert settings.kafka_is_given
    assert "s3cretX" not in repr(settings)


def test_a_left_over_redis_url_is_answered_with_what_takes_its_place() -> None:
    notice = redis_notice({"REDIS_URL": "redis://:s3cretX@host"})
    assert notice is not None
    assert "KAFKA_BOOTSTRAP_SERVERS" in notice
    assert "s3cretX" not in notice
    assert redis_notice({}) is None


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    (problem,) = check_configs(tmp_path / "none", {}).problems
    assert "is no folder" in problem.message


SAME = [
    {"points": [[100.0, 100], [500, 100], [500, 400]]},
    {"anchor": "bottom_center", "severity": "warning", "confirm": {"hits": 3}},
    {"resolve_after_seconds": 5, "debounce_window_seconds": 30.0, "min_confidence": 0.25},
]


@pytest.mark.parametrize("keys", SAME)
def test_writing_a_default_out_does_not_change_the_revision(keys: dict) -> None:
    assert revision_of(effective_rules(entry(**keys), RoiDefaults())) == revision_of(
        effective_rules(entry(), RoiDefaults())
    )


@pytest.mark.parametrize(
    "keys",
    [{"severity": "critical"}, {"confirm": {"hits": 2}}, {"points": [[101, 100], [500, 100], [500, 400]]}],
)
def test_another_meaning_is_another_revision(keys: dict) -> None:
    assert revision_of(effective_rules(entry(**keys), RoiDefaults())) != revision_of(
        effective_rules(entry(), RoiDefaults())
    )


def test_a_changed_default_is_a_changed_revision() -> None:
    assert revision_of(effective_rules(entry(), RoiDefaults(min_confidence=0.3))) != revision_of(
        effective_rules(entry(), RoiDefaults())
    )


@given(st.permutations(["pine", "worker", "log"]))
def test_the_order_of_allowed_classes_means_nothing(order: list[str]) -> None:
    def revision(labels: list[str]) -> str:
        document = CameraRois.model_validate({"camera_id": "gate", "allowed_classes": labels})
        return revision_of(effective_rules(document, RoiDefaults()))

    assert revision(order) == revision(["pine", "worker", "log"])


def test_the_revision_of_a_document_is_this_for_ever() -> None:
    # Golden: alert ids hold the revision, so a changed canonical form would rename every alert.
    assert revision_of(effective_rules(entry(), RoiDefaults())) == "4ec3b25c84b2b5b6"

"""Messages, their codec, the topic registry, and the documents that are generated from them."""

import hashlib
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import SCHEMAS, decode, encode, schema_header
from schemas.effective import CameraRules, RoiRevision
from schemas.frames import FrameHead, frame_headers, read_frame_headers
from schemas.generate import FOLDER, asyncapi, generated
from schemas.messages import Alert, Delivery, Detection, DetectionEvent, Evidence, FrameRef, Model, alert_id
from schemas.problems import Undecodable
from schemas.topics import ALERTS, DETECTIONS, FRAMES, PARTITIONS, RULES_EPISODES, RULES_HITS, TOPICS

FRAME = FrameRef("frames", 3, 41)
MODEL = Model("yard", "1", "ab" * 32)
EVENT = DetectionEvent(
    camera_id="gate",
    captured_at=1_700_000_000_000,
    seq=7,
    frame=FRAME,
    width=1280,
    height=720,
    floor=0.1,
    model=MODEL,
    detections=(Detection("object", 0.75, (0.1, 0.2, 0.3, 0.4)),),
)
ALERT = Alert(
    alert_id=alert_id("gate", "dock", "object", None, "0" * 16, 1_700_000_000_000),
    seq=0,
    phase="opened",
    camera_id="gate",
    roi="dock",
    label="object",
    track_id=None,
    severity="critical",
    first_hit_at=1_699_999_999_000,
    opened_at=1_700_000_000_000,
    last_hit_at=1_700_000_000_000,
    resolved_at=None,
    reason=None,
    hits=3,
    suppressed=0,
    evidence=Evidence(FRAME, (0.1, 0.2, 0.3, 0.4), 0.75, 1_700_000_000_000),
    model=MODEL,
    roi_revision="0" * 16,
)
DELIVERY = Delivery("a_0", "stdout", "delivered", 1, 1, 2)
REVISION = RoiRevision("gate", "0" * 16, 0, 1, "file", CameraRules("gate"), {"camera_id": "gate"})

fractions = st.floats(0, 1)
instants = st.integers(0, 2**53)
events = st.builds(
    DetectionEvent,
    camera_id=st.text(max_size=20),
    captured_at=instants,
    seq=instants,
    frame=st.builds(FrameRef, topic=st.text(max_size=9), partition=st.integers(0, 99), offset=instants),
    width=st.integers(0, 9999),
    height=st.integers(0, 9999),
    floor=fractions,
    model=st.just(MODEL),
    detections=st.lists(
        st.builds(
            Detection,
            label=st.text(max_size=9),
            confidence=fractions,
            box=st.tuples(fractions, fractions, fractions, fractions),
            track_id=st.none() | st.integers(0, 99),
        ),
        max_size=4,
    ).map(tuple),
    skipped=st.sampled_from([None, "stale", "undecodable", "offline"]),
)


@given(events)
def test_an_event_survives_the_codec_to_the_bit(event: DetectionEvent) -> None:
    assert decode(DetectionEvent, encode(event)) == event
    assert encode(decode(DetectionEvent, encode(event))) == encode(event)


@pytest.mark.parametrize("message", [EVENT, ALERT, DELIVERY, REVISION], ids=lambda message: type(message).__name__)
def test_every_message_fits_its_published_json_schema(message: msgspec.Struct) -> None:
    name = SCHEMAS[type(message)].replace("/", "-") + ".json"
    schema = json.loads((FOLDER / "json" / name).read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(encode(message)))
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_bytes_of_an_alert_are_these_for_ever() -> None:
    # Golden: replay promises byte-identical alerts, also across releases. A change here is a new schema version.
    assert (
        hashlib.sha256(encode(ALERT)).hexdigest() == "a55832aa6a9bc067c8daf169bb1fa7d31ae72d5be2f8473bd2417f546bc07eb6"
    )
    assert (
        hashlib.sha256(encode(EVENT)).hexdigest() == "271597283b5a56cab78ff07519a9ab19cc38f12e972a5758568953a52f7b1eb2"
    )
    assert list(json.loads(encode(ALERT))) == list(Alert.__struct_fields__)


def test_an_unknown_key_is_let_be_because_schemas_grow() -> None:
    grown = {**json.loads(encode(EVENT)), "new_in_2027": [1, 2]}
    assert decode(DetectionEvent, json.dumps(grown).encode()) == EVENT


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (encode(EVENT), [("schema", b"detection-event/2")], "unknown_schema"),
        (encode(EVENT), [], "unknown_schema"),
        (b"", [schema_header(DetectionEvent)], "empty"),
        (b"{", [schema_header(DetectionEvent)], "bad_value"),
        (b"\xff\xfe", [schema_header(DetectionEvent)], "bad_value"),
        (encode(EVENT).replace(b"0.75", b"1.75"), [schema_header(DetectionEvent)], "bad_value"),
        (encode(EVENT).replace(b'"seq":7,', b""), [schema_header(DetectionEvent)], "bad_value"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(value: bytes, headers: list, reason: str) -> None:
    with pytest.raises(Undecodable) as refused:
        decode(DetectionEvent, value, headers)
    assert refused.value.reason == reason


@given(st.builds(FrameHead, **dict.fromkeys(set(FrameHead.__struct_fields__) - {"mode"}, st.integers(0, 10**17))))
def test_frame_headers_survive(head: FrameHead) -> None:
    assert read_frame_headers([*frame_headers(head), ("traceparent", b"x")]) == head


@pytest.mark.parametrize("broken", ["schema", "mode", "seq", "captured_at", "source_height"])
def test_a_frame_without_a_header_is_undecodable(broken: str) -> None:
    head = FrameHead(1, 2, 3, "live", 4, 5, 6, 7)
    with pytest.raises(Undecodable):
        read_frame_headers([pair for pair in frame_headers(head) if pair[0] != broken])
    with pytest.raises(Undecodable):
        read_frame_headers([pair if pair[0] != broken else (broken, b"-x") for pair in frame_headers(head)])


def test_generated_schemas_are_in_step_with_the_code() -> None:
    for path, text in generated().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `python -m schemas.generate`"


def test_the_asyncapi_document_and_the_registry_agree() -> None:
    document = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
    assert document == json.loads(json.dumps(asyncapi()))
    for topic in (FRAMES, DETECTIONS, ALERTS):
        kafka = document["channels"][topic.name]["bindings"]["kafka"]
        assert kafka["partitions"] == PARTITIONS
        assert kafka["topicConfiguration"]["retention.ms"] == topic.retention_ms
    for message in document["components"]["messages"].values():
        reference = message["payload"].get("$ref")
        assert reference is None or (Path(FOLDER) / reference).exists()


def test_topics_that_are_joined_by_partition_have_one_count() -> None:
    assert {topic.partitions for topic in TOPICS if topic.by_camera} == {PARTITIONS}
    assert RULES_HITS.by_camera
    assert RULES_EPISODES.by_camera


def test_names_in_the_registry_are_unique_and_take_a_prefix() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert ALERTS.full_name("site1.") == "site1.alerts"

"""What the pipeline should have said: the scene's truth at every frame that was sent, judged by the same engine.

Each frame of the yard carries the scene's time as a strip of blocks, so a frame that came through RTSP, H.264, sampling
and JPEG still tells which truth belongs to it.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import cv2
import numpy as np

from demos.yard import Yard
from demos.yard.timecode import read as read_timecode
from rules.engine import compile_rules, step
from rules.state import CameraState
from runtime.kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition, log_spans, reader
from runtime.settings import KafkaSettings
from schemas.codec import decode
from schemas.effective import RoiRevision
from schemas.frames import read_frame_headers
from schemas.messages import Alert, Delivery, Detection, DetectionEvent, FrameRef, Model, delivery_id
from schemas.problems import Undecodable
from schemas.topics import ALERTS, DELIVERIES, FRAMES

TRUTH: Final = Model("truth", "1", "0" * 64)
LEAST_VISIBLE: Final = 0.35
"""A thing of which less is to be seen counts as hidden: a person would not be sure either."""
READ_SECONDS: Final = 30.0


class SentFrame(NamedTuple):
    """A frame on the topic. ``scene_ms`` None: a tick, or a picture whose strip cannot be read."""

    camera_id: str
    captured_at: int
    seq: int
    ref: FrameRef
    width: int
    height: int
    scene_ms: int | None


class Row(NamedTuple):
    """One line of the comparison. ``verdict`` is ``as expected``, ``missing``, ``not expected`` or ``off``."""

    verdict: str
    camera_id: str
    roi: str
    label: str
    expected_opened_at: int | None
    opened_at: int | None
    expected_resolved_at: int | None
    resolved_at: int | None


def read_topic(kafka: KafkaSettings, topic: str) -> Iterable[tuple[int, int, bytes, bytes, list[tuple[str, bytes]]]]:
    """(partition, offset, key, value, headers) of every record up to the log's end at the start of the reading."""
    client = reader(kafka, "backsight-truth")
    try:
        ends = {number: high for number, (low, high) in log_spans(client, topic).items() if high > low}
        client.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
        while ends:
            record = client.poll(READ_SECONDS)
            if record is None:
                raise TimeoutError(f"{topic}: nothing came for {READ_SECONDS:g} s")
            problem = record.error()
            if problem is not None:
                if problem.code() == KafkaError._PARTITION_EOF:
                    ends.pop(record.partition(), None)
                    continue
                raise KafkaException(problem)
            number = record.partition()
            yield number, record.offset(), record.key() or b"", record.value() or b"", record.headers() or []
            if number in ends and record.offset() + 1 >= ends[number]:
                del ends[number]
    finally:
        client.close()


def sent_frames(kafka: KafkaSettings, prefix: str = "") -> list[SentFrame]:
    """Every frame on the topic with the scene's time read off its picture."""
    topic = FRAMES.full_name(prefix)
    found = []
    for partition, offset, key, value, headers in read_topic(kafka, topic):
        head = read_frame_headers(headers)
        picture = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR) if value else None
        found.append(
            SentFrame(
                camera_id=key.decode(),
                captured_at=head.captured_at,
                seq=head.seq,
                ref=FrameRef(topic, partition, offset),
                width=head.source_width,
                height=head.source_height,
                scene_ms=None if picture is None else read_timecode(picture),
            )
        )
    return found


def sent_alerts(kafka: KafkaSettings, prefix: str = "") -> list[Alert]:
    """Every alert on the topic, each (alert_id, seq) once."""
    found: dict[tuple[str, int], Alert] = {}
    for _, offset, _, value, headers in read_topic(kafka, ALERTS.full_name(prefix)):
        try:
            alert = decode(Alert, value, headers)
        except Undecodable as error:
            raise ValueError(f"alerts: offset {offset}: {error}") from None
        found[alert.alert_id, alert.seq] = alert
    return list(found.values())


def expected_alerts(frames: Iterable[SentFrame], yard: Yard, revision: RoiRevision) -> list[Alert]:
    """The alerts of one camera when every truth is seen: the engine over the scene's truth at each frame's time."""
    document = compile_rules(revision.document, revision.revision, revision.effective_from)
    state = CameraState()
    alerts: list[Alert] = []
    for frame in frames:
        if frame.camera_id != revision.camera_id:
            continue
        judged = step(document, state, _event(frame, yard))
        state = judged.state
        alerts += judged.alerts
    return alerts


def _event(frame: SentFrame, yard: Yard) -> DetectionEvent:
    detections: tuple[Detection, ...] = ()
    if frame.scene_ms is not None:
        detections = tuple(
            Detection(truth.label, 1.0, truth.box)
            for truth in yard.truths(frame.scene_ms)
            if truth.visible >= LEAST_VISIBLE
        )
    return DetectionEvent(
        camera_id=frame.camera_id,
        captured_at=frame.captured_at,
        seq=frame.seq,
        frame=frame.ref,
        width=frame.width,
        height=frame.height,
        floor=0.0,
        model=TRUTH,
        detections=detections,
        skipped=None if frame.scene_ms is not None else "offline",
    )


def compare(expected: Iterable[Alert], found: Iterable[Alert], tolerance_ms: int, ends: Mapping[str, int]) -> list[Row]:
    """Pairs alerts of the same camera, ROI and label whose openings lie within ``tolerance_ms`` of each other.

    A pair whose resolving lies further apart, or is there on one side only, is ``off``. ``ends`` is the capture time of
    each camera's last frame: what is expected within ``tolerance_ms`` of it could still have come, and is not held
    against anybody.
    """
    rows: list[Row] = []
    left = _episodes(found)
    for key, opened, resolved in _episodes(expected):
        last = ends[key[0]] - tolerance_ms
        near = [each for each in left if each[0] == key and abs(each[1] - opened) <= tolerance_ms]
        if not near:
            if opened <= last:
                rows.append(Row("missing", *key, opened, None, resolved, None))
            continue
        match = min(near, key=lambda each: abs(each[1] - opened))
        left.remove(match)
        _, opened_at, resolved_at = match
        if resolved is None or resolved_at is None:
            same = (resolved or resolved_at or last + 1) > last
        else:
            same = abs(resolved - resolved_at) <= tolerance_ms
        rows.append(Row("as expected" if same else "off", *key, opened, opened_at, resolved, resolved_at))
    rows += [Row("not expected", *key, None, opened_at, None, resolved_at) for key, opened_at, resolved_at in left]
    return sorted(rows, key=lambda row: (row.camera_id, row.expected_opened_at or row.opened_at or 0))


def _episodes(alerts: Iterable[Alert]) -> list[tuple[tuple[str, str, str], int, int | None]]:
    every = list(alerts)
    ends: Mapping[str, int | None] = {each.alert_id: each.resolved_at for each in every if each.phase == "resolved"}
    return [
        ((each.camera_id, each.roi, each.label), each.opened_at, ends.get(each.alert_id))
        for each in every
        if each.phase == "opened"
    ]


def delays(kafka: KafkaSettings, prefix: str, alerts: Iterable[Alert]) -> list[int]:
    """For every delivered opening: milliseconds from the capture of the frame that confirmed it to its delivery."""
    opened_at = {delivery_id(alert): alert.opened_at for alert in alerts if alert.phase == "opened"}
    deliveries = [decode(Delivery, value) for _, _, _, value, _ in read_topic(kafka, DELIVERIES.full_name(prefix))]
    return sorted(
        each.last_attempt_at - opened_at[each.delivery_id]
        for each in deliveries
        if each.outcome == "delivered" and each.delivery_id in opened_at
    )

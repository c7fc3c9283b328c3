"""Detection events to Arrow tables and back, without losing a bit. The schema is described in docs/archive.md."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa

from replay.archive.layout import LAST_INSTANT, names_a_folder
from schemas.messages import Detection, DetectionEvent, FrameRef, Model

VERSION: Final = "1"
"""Of the schema; in every file's metadata as `backsight.schema`. Grows by adding columns."""

Row = tuple[int, DetectionEvent]
"""An event and its record's offset."""

_FRAME: Final = pa.struct([("topic", pa.string()), ("partition", pa.int64()), ("offset", pa.int64())])
_MODEL: Final = pa.struct([("name", pa.string()), ("version", pa.string()), ("sha256", pa.string())])
_BOX: Final = pa.struct([(edge, pa.float64()) for edge in ("x1", "y1", "x2", "y2")])
_DETECTION: Final = pa.struct(
    [("label", pa.string()), ("confidence", pa.float64()), ("box", _BOX), ("track_id", pa.int64())]
)
# The plain columns come first: a column's place in the schema is then its place in the file's statistics.
SCHEMA: Final = pa.schema(
    [
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("camera_id", pa.string()),
        ("captured_at", pa.timestamp("ms", "UTC")),
        ("seq", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("floor", pa.float64()),
        ("skipped", pa.string()),
        ("frame", _FRAME),
        ("model", _MODEL),
        ("detections", pa.list_(_DETECTION)),
    ]
)
CAPTURED_AT: Final = SCHEMA.get_field_index("captured_at")

_TOO_LARGE: Final = 1 << 63


def fits(event: DetectionEvent) -> bool:
    """Whether the columns and folders can hold it: JSON has integers of any size, and camera ids of any length."""
    frame = event.frame
    return (
        event.captured_at < LAST_INSTANT
        and max(event.seq, event.width, event.height, frame.partition, frame.offset) < _TOO_LARGE
        and all(each.track_id is None or -_TOO_LARGE <= each.track_id < _TOO_LARGE for each in event.detections)
        and names_a_folder(event.camera_id)
    )


def table_of(partition: int, rows: Sequence[Row]) -> pa.Table:
    """The rows in their order, as one table of `SCHEMA`. Each event must fit (`fits`)."""
    events = [event for _, event in rows]
    count = len(rows)
    columns = {
        "kafka_partition": [partition] * count,
        "kafka_offset": [offset for offset, _ in rows],
        "camera_id": [event.camera_id for event in events],
        "captured_at": pa.array([event.captured_at for event in events], pa.int64()).cast(pa.timestamp("ms", "UTC")),
        "seq": [event.seq for event in events],
        "width": [event.width for event in events],
        "height": [event.height for event in events],
        "floor": [event.floor for event in events],
        "skipped": [event.skipped for event in events],
        "frame": _attributes(_FRAME, [event.frame for event in events]),
        "model": _attributes(_MODEL, [event.model for event in events]),
        "detections": _lists([event.detections for event in events]),
    }
    return pa.table(columns, schema=SCHEMA)


def rows_of(batch: pa.RecordBatch) -> Iterator[Row]:
    """What `table_of` was given, of any stretch of its rows."""
    models: dict[tuple[str, str, str], Model] = {}
    plain = zip(
        batch.column("kafka_offset").to_pylist(),
        batch.column("camera_id").to_pylist(),
        batch.column("captured_at").cast(pa.int64()).to_pylist(),
        batch.column("seq").to_pylist(),
        _structs(batch.column("frame")),
        batch.column("width").to_pylist(),
        batch.column("height").to_pylist(),
        batch.column("floor").to_pylist(),
        _structs(batch.column("model")),
        _detections(batch.column("detections")),
        batch.column("skipped").to_pylist(),
        strict=True,
    )
    for offset, camera_id, at, seq, frame, width, height, floor, named, detections, skipped in plain:
        model = models.get(named)
        if model is None:
            model = models[named] = Model(*named)
        yield (
            offset,
            DetectionEvent(
                camera_id, at, seq, FrameRef(*frame), width, height, floor, model, tuple(detections), skipped
            ),
        )


def _attributes(kind: pa.StructType, values: Sequence[Any]) -> pa.StructArray:
    fields = [kind.field(place) for place in range(kind.num_fields)]
    arrays = [pa.array([getattr(value, field.name) for value in values], field.type) for field in fields]
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _lists(lists: Sequence[tuple[Detection, ...]]) -> pa.ListArray:
    ends = [0]
    for some in lists:
        ends.append(ends[-1] + len(some))
    flat = [each for some in lists for each in some]
    edges = [pa.array([each.box[place] for each in flat], pa.float64()) for place in range(4)]
    structs = pa.StructArray.from_arrays(
        [
            pa.array([each.label for each in flat], pa.string()),
            pa.array([each.confidence for each in flat], pa.float64()),
            pa.StructArray.from_arrays(edges, fields=list(_BOX)),
            pa.array([each.track_id for each in flat], pa.int64()),
        ],
        fields=list(_DETECTION),
    )
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs)


def _structs(column: pa.StructArray) -> Iterable[tuple[Any, ...]]:
    return zip(*(field.to_pylist() for field in column.flatten()), strict=True)


def _detections(column: pa.ListArray) -> Iterator[list[Detection]]:
    labels, confidences, boxes, tracks = column.flatten().flatten()
    flat = [
        Detection(label, confidence, box, track_id)
        for label, confidence, box, track_id in zip(
            labels.to_pylist(), confidences.to_pylist(), _structs(boxes), tracks.to_pylist(), strict=True
        )
    ]
    ends = column.offsets.to_pylist()
    for begin, end in pairwise(ends):
        yield flat[begin - ends[0] : end - ends[0]]

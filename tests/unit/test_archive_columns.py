"""The archive's columns and names give back what they were given."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from replay.archive.columns import CAPTURED_AT, SCHEMA, fits, rows_of, table_of
from replay.archive.layout import LAST_INSTANT, DataFile, camera_name, data_file, day_name, day_of
from schemas.codec import decode, encode
from schemas.messages import Detection, DetectionEvent, FrameRef, Model
from tests.support import histories
from tests.support.histories import START, event, seen

COUNTS = st.integers(0, 2**63 - 1)
FRACTIONS = st.floats(0, 1)  # -0.0 and the smallest among them
TEXTS = st.text(max_size=12)
ANY_EVENT = st.builds(
    DetectionEvent,
    camera_id=TEXTS,
    captured_at=st.integers(0, LAST_INSTANT - 1),
    seq=COUNTS,
    frame=st.builds(FrameRef, topic=TEXTS, partition=COUNTS, offset=COUNTS),
    width=COUNTS,
    height=COUNTS,
    floor=FRACTIONS,
    model=st.builds(Model, name=TEXTS, version=TEXTS, sha256=TEXTS),
    detections=st.lists(
        st.builds(
            Detection,
            label=TEXTS,
            confidence=FRACTIONS,
            box=st.tuples(FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS),
            track_id=st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=4,
    ).map(tuple),
    skipped=st.sampled_from((None, "stale", "undecodable", "offline")),
)


def through_parquet(table: pa.Table, rows_in_a_batch: int) -> list[tuple[int, DetectionEvent]]:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    batches = pq.ParquetFile(file).iter_batches(batch_size=rows_in_a_batch)
    return [row for batch in batches for row in rows_of(batch)]


@given(histories.histories(), st.integers(1, 50))
def test_a_history_comes_back_from_parquet_to_the_byte(history: list[DetectionEvent], at_once: int) -> None:
    rows = [(7 + 3 * place, each) for place, each in enumerate(history)]
    back = through_parquet(table_of(5, rows), at_once)
    assert back == rows
    assert [encode(each) for _, each in back] == [encode(each) for each in history]


@given(st.lists(ANY_EVENT, max_size=5), st.integers(1, 5))
def test_any_event_that_fits_comes_back_to_the_byte(events: list[DetectionEvent], at_once: int) -> None:
    assert all(fits(each) for each in events)
    rows = list(enumerate(events))
    back = through_parquet(table_of(0, rows), at_once)
    assert [offset for offset, _ in back] == [offset for offset, _ in rows]
    assert [encode(each) for _, each in back] == [encode(each) for each in events]


@given(histories.histories(), st.integers(0, 10))
def test_a_slice_of_a_table_gives_its_own_rows(history: list[DetectionEvent], begin: int) -> None:
    rows = list(enumerate(history))
    sliced = table_of(0, rows).slice(begin)
    assert [row for batch in sliced.to_batches() for row in rows_of(batch)] == rows[begin:]


def test_what_a_record_wrote_otherwise_is_the_same_event() -> None:
    written = encode(event(0, seen())).replace(b'"floor":0.1', b'"floor":0')
    once = decode(DetectionEvent, written)
    assert [each for batch in table_of(0, [(0, once)]).to_batches() for _, each in rows_of(batch)] == [once]
    assert type(once.floor) is float


@pytest.mark.parametrize(
    "change",
    [
        {"captured_at": LAST_INSTANT},
        {"seq": 2**63},
        {"width": 2**63},
        {"frame": FrameRef("frames", 0, 2**70)},
        {"frame": FrameRef("frames", 2**63, 0)},
        {"detections": (replace(seen(), track_id=2**63),)},
        {"detections": (seen(), replace(seen(), track_id=-(2**63) - 1))},
        {"camera_id": "c" * 241},
        {"camera_id": "ñ" * 41},
    ],
)
def test_what_no_column_or_folder_holds_does_not_fit(change: dict[str, Any]) -> None:
    assert fits(event(0, seen()))
    assert not fits(replace(event(0, seen()), **change))


def test_plain_columns_come_first_so_that_statistics_are_found_by_place() -> None:
    file = io.BytesIO()
    pq.write_table(table_of(0, [(0, event(0)), (1, event(5))]), file)
    times = pq.ParquetFile(file).metadata.row_group(0).column(CAPTURED_AT)
    assert (times.path_in_schema, times.statistics.min_raw, times.statistics.max_raw) == (
        "captured_at",
        START,
        START + 5,
    )
    assert table_of(0, []).schema == SCHEMA


@given(
    st.builds(
        DataFile,
        partition=st.integers(0, 2**31 - 1),
        first=COUNTS,
        last=COUNTS,
        day=st.integers(0, day_of(LAST_INSTANT - 1)),
        camera_id=st.text(max_size=20),
    )
)
def test_a_file_is_named_after_all_that_it_holds(file: DataFile) -> None:
    assert data_file(file.path) == file
    day, camera, name = file.path.split("/")
    assert day == f"day={day_name(file.day)}"
    assert camera == f"camera={camera_name(file.camera_id)}"
    assert name.endswith(".parquet")


def test_names_sort_as_offsets_do() -> None:
    offsets = (0, 9, 10, 99, 10**12)
    files = [DataFile(partition, first, first, 20_000, "cam") for partition in (0, 2, 11, 999) for first in offsets]
    assert sorted(files, key=lambda file: file.path) == sorted(files)


@pytest.mark.parametrize(
    "path",
    [
        "_staging/00000001/000000.part",
        "day=2026-11-16/camera=cam/notes.txt",
        "day=2026-13-16/camera=cam/0000-00000000000000000000-00000000000000000001.parquet",
        "day=2026-11-16/camera=cam/0000-0-1.parquet",
        "day=2026-11-16/camera=cam/0000-00000000000000000000-00000000000000000001.parquet.tmp",
    ],
)
def test_other_files_are_passed_over(path: str) -> None:
    assert data_file(path) is None


def test_an_instant_belongs_to_its_utc_day() -> None:
    assert day_name(day_of(1_794_787_200_000)) == "2026-11-16"
    assert day_name(day_of(1_794_787_200_000 - 1)) == "2026-11-15"
    assert day_name(day_of(LAST_INSTANT - 1)) == "9999-12-31"

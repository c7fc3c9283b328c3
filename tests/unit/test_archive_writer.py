"""An archive on disk: every event once, in order, wherever the writer was killed; and what is read of it."""

import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replay.archive import BadArchive, open_source
from replay.archive.audit import audit
from replay.archive.columns import SCHEMA
from replay.archive.layout import day_name, day_of
from replay.archive.ledger import Gap, read_ledger, write_ledger
from replay.archive.source import ArchiveSource
from replay.archive.status import status_of
from replay.archive.writer import Committed, Writer
from replay.spans import Span
from schemas.messages import DetectionEvent
from schemas.partitioning import partition_of
from tests.support.histories import START, event, histories, seen

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400_000
TO_MIDNIGHT = DAY - START % DAY
ALWAYS = Span(0, 1 << 60)
Rows = list[tuple[int, DetectionEvent]]


class Killed(BaseException):
    """What a `kill -9` is to the process that is killed: nothing of it goes on."""


def a_writer(folder: Path, **sizes: int) -> Writer:
    return Writer(folder, "detections", "topic-1", **sizes)


def write(folder: Path, rows: Rows, every: int = 1000, partition: int = 0, **sizes: int) -> None:
    """The rows that the archive lacks, in batches of ``every``; as `backsight archive run` would."""
    with a_writer(folder, **sizes) as writer:
        writer.begin(partition, 0)
        begin = writer.wanted(partition)
        for count, (offset, each) in enumerate(rows[begin:], 1):
            assert writer.add(partition, offset, each)
            if count % every == 0:
                writer.commit()
        writer.commit()


def read(folder: Path, span: Span = ALWAYS, cameras: frozenset[str] | None = None) -> dict[str, list[DetectionEvent]]:
    found = defaultdict(list)
    for events in open_source(folder).read(span, cameras):
        for each in events:
            found[each.camera_id].append(each)
    return dict(found)


def by_camera(events: list[DetectionEvent]) -> dict[str, list[DetectionEvent]]:
    found = defaultdict(list)
    for each in events:
        found[each.camera_id].append(each)
    return dict(found)


def offsets_by_glob(folder: Path) -> list[int]:
    """What an engine sees that reads every file in the folders of days, and knows nothing of us."""
    files = folder.glob("day=*/camera=*/*.parquet")
    return sorted(at for file in files for at in pq.ParquetFile(file).read().column("kafka_offset").to_pylist())


def over_midnight(count: int = 12) -> Rows:
    """Two cameras whose events change between two days, back and forth."""
    steps = (-300, 200, -100, 500, 900)
    return [
        (offset, event(TO_MIDNIGHT + steps[offset % 5] + offset, seen(), camera=f"cam_{offset % 2}"))
        for offset in range(count)
    ]


def expected_of(history: list[DetectionEvent], span: Span) -> list[DetectionEvent]:
    """`Source.read` of one camera, said slowly."""
    closing = next((place for place, each in enumerate(history) if each.captured_at >= span.end), None)
    return [each for place, each in enumerate(history) if span.holds(each.captured_at) or place == closing]


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Kills at the n-th thing that is done to the disk from now on; None: never."""
    left: list[int | None] = [None]

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
            return real(*arguments, **named)

        return step

    for of, name in ((Path, "replace"), (Path, "open"), (Path, "mkdir"), (os, "fsync"), (pq, "ParquetWriter")):
        monkeypatch.setattr(of, name, counting(getattr(of, name)))
    return lambda count: left.__setitem__(0, count)


def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(
    tmp_path: Path, killed_at: Callable[[int | None], None]
) -> None:
    rows = over_midnight(9)
    all_events = by_camera([each for _, each in rows])
    kills = 0
    for step in range(1000):
        folder = tmp_path / str(step)
        try:
            killed_at(step)
            write(folder, rows, every=5, in_memory=2)
            killed_at(None)
            break
        except Killed:
            killed_at(None)
            kills += 1
        if (folder / "_archive.json").exists():
            # As it lies there: our reader gives what is committed, others see no more than that, and nothing twice.
            end = read_ledger(folder).partitions[0].end
            assert read(folder) == by_camera([each for _, each in rows[:end]])
            others = offsets_by_glob(folder)
            assert len(others) == len(set(others))
            assert set(others) <= set(range(end))
            assert audit(folder).problems == ()
        else:
            assert offsets_by_glob(folder) == []
        write(folder, rows, every=5, in_memory=2)
        assert read(folder) == all_events
        assert offsets_by_glob(folder) == list(range(len(rows)))
        assert not (folder / "_staging").exists()
    assert kills > 30
    assert audit(folder).problems == ()


@settings(deadline=None, max_examples=40)  # files are forced to the disk, which takes its time
@given(
    st.lists(histories(longest=20), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
    st.integers(8, 40),
    st.integers(1, 9),
    st.integers(0, 60_000),
    st.integers(1, 60_000),
)
def test_any_span_of_any_history_is_what_the_log_holds_of_it(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[list[DetectionEvent]],
    dice: Any,
    every: int,
    in_memory: int,
    begin: int,
    length: int,
) -> None:
    # The day changes 20 s after the histories begin, so that late events lie on both sides of it.
    shift = TO_MIDNIGHT - 20_000
    cameras = [
        [replace(each, camera_id=f"cam_{number}", captured_at=each.captured_at + shift) for each in history]
        for number, history in enumerate(drawn)
    ]
    waiting = [list(history) for history in cameras]
    mixed: list[DetectionEvent] = []
    while any(waiting):
        mixed.append(dice.choice([history for history in waiting if history]).pop(0))
    folder = tmp_path_factory.mktemp("archive")
    write(folder, list(enumerate(mixed)), every=every, in_memory=in_memory)
    span = Span(START + shift + begin, START + shift + begin + length)
    wanted = {history[0].camera_id: expected_of(history, span) for history in cameras}
    assert read(folder, span) == {camera: events for camera, events in wanted.items() if events}
    assert audit(folder) == audit(folder)
    assert audit(folder).problems == ()
    assert open_source(folder).cameras() == tuple(sorted(wanted))


def test_only_the_cameras_asked_for_are_read(tmp_path: Path) -> None:
    rows = over_midnight()
    write(tmp_path, rows)
    assert set(read(tmp_path, cameras=frozenset({"cam_1", "cam_9"}))) == {"cam_1"}


def test_a_camera_of_several_row_groups_keeps_its_order(tmp_path: Path) -> None:
    rows: Rows = [(offset, event(offset * 200, camera="cam")) for offset in range(300)]
    write(tmp_path, rows, in_memory=7)
    (file,) = tmp_path.glob("day=*/camera=cam/*.parquet")
    assert pq.ParquetFile(file).num_row_groups > 10
    span = Span(START + 10_000, START + 20_000)
    assert read(tmp_path, span)["cam"] == [each for _, each in rows[50:101]]


def test_a_full_batch_says_so(tmp_path: Path) -> None:
    with a_writer(tmp_path, at_once=2) as writer:
        writer.begin(0, 0)
        writer.add(0, 0, event(0))
        assert not writer.full
        writer.add(0, 1, event(1))
        assert writer.full
        assert writer.commit() == Committed(events=2, files=1, bad=0)
        assert not writer.full
        assert writer.commit() is None


def test_what_cannot_be_kept_is_counted_and_not_asked_for_again(tmp_path: Path) -> None:
    with a_writer(tmp_path) as writer:
        writer.begin(0, 0)
        writer.skip(0, 0)
        assert not writer.add(0, 1, replace(event(0), seq=2**63))
        assert writer.commit() == Committed(events=0, files=0, bad=2)
    with a_writer(tmp_path) as writer:
        assert writer.wanted(0) == 2
        assert writer.ledger.partitions[0].bad == 2
    assert read(tmp_path) == {}


def test_a_gap_is_kept_and_makes_the_history_not_whole(tmp_path: Path) -> None:
    with a_writer(tmp_path) as writer:
        writer.begin(0, 0)
        writer.add(0, 0, event(0))
        assert writer.lose(0, 5) == Gap(1, 5)
        writer.add(0, 5, event(400))
        writer.commit()
    source = ArchiveSource(tmp_path)
    assert source.gaps == {0: (Gap(1, 5),)}
    (extent,) = source.extents()
    assert (extent.first, extent.end, extent.first_at, extent.whole) == (0, 6, START, False)
    assert audit(tmp_path).problems == ()
    assert "    gap: 1 to 4 were deleted before" in status_of(tmp_path).lines()


def test_markers_of_transactions_are_no_gap(tmp_path: Path) -> None:
    with a_writer(tmp_path) as writer:
        writer.begin(0, 0)
        writer.pass_over(0, 3)
        writer.add(0, 3, event(0))
        writer.commit()
    assert ArchiveSource(tmp_path).extents()[0].whole
    assert audit(tmp_path).problems == ()


def test_an_archive_from_offset_0_on_is_whole_and_a_later_one_is_not(tmp_path: Path) -> None:
    with a_writer(tmp_path) as writer:
        writer.begin(0, 0)
        writer.begin(1, 40)
        writer.begin(2, 0)
        writer.add(0, 0, event(300))
        writer.add(1, 40, event(100, camera="cam_1"))
        writer.commit()
    source = ArchiveSource(tmp_path)
    assert [(each.partition, each.first, each.end, each.first_at, each.whole) for each in source.extents()] == [
        (0, 0, 1, START + 300, True),
        (1, 40, 41, START + 100, False),
        (2, 0, 0, None, True),
    ]
    assert source.extent_of("cam_1").partition == 1
    assert source.extent_of("never seen").partition == partition_of("never seen", 3)


def test_where_old_days_were_removed_the_history_begins_later_and_is_not_whole(tmp_path: Path) -> None:
    rows: Rows = [(offset, event(offset * DAY // 2, camera="cam")) for offset in range(8)]
    write(tmp_path, rows, every=4)
    assert ArchiveSource(tmp_path).extents()[0].whole
    days = sorted(tmp_path.glob("day=*"))
    for day in days[:2]:
        for file in day.glob("*/*"):
            file.unlink()
    (extent,) = ArchiveSource(tmp_path).extents()
    left = read(tmp_path)["cam"]
    assert (extent.first_at, extent.whole) == (left[0].captured_at, False)
    assert (status_of(tmp_path).removed, len(left)) == (2, 5)
    assert audit(tmp_path).problems == ()  # not a fault: that is how an archive is kept small
    write(tmp_path, [*rows, (8, event(9 * DAY, camera="cam"))])
    assert read(tmp_path)["cam"][:-1] == left


def test_a_reader_sees_the_archive_as_it_was_when_it_was_opened(tmp_path: Path) -> None:
    rows = over_midnight(24)
    write(tmp_path, rows[:12], every=5)
    source = open_source(tmp_path)
    write(tmp_path, rows, every=5)
    events = [each for some in source.read(ALWAYS) for each in some]
    assert by_camera(events) == by_camera([each for _, each in rows[:12]])
    assert read(tmp_path) == by_camera([each for _, each in rows])


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with a_writer(tmp_path), pytest.raises(BadArchive, match="another process is writing"):
        a_writer(tmp_path)
    a_writer(tmp_path).__exit__(None, None, None)


def test_the_archive_of_another_topic_is_refused(tmp_path: Path) -> None:
    write(tmp_path, over_midnight())
    with pytest.raises(BadArchive, match=r"topic was made anew.*name another folder"):
        Writer(tmp_path, "detections", "topic-2")
    with pytest.raises(BadArchive, match="archive of detections"):
        Writer(tmp_path, "other.detections", "topic-1")


def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match=r"is no archive \(there is no _archive.json\)"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "day=2026-11-16").mkdir()
    with pytest.raises(BadArchive, match=r"has folders of days but no _archive\.json"):
        a_writer(tmp_path)
    (tmp_path / "_archive.json").write_text("{]")
    with pytest.raises(BadArchive, match=r"_archive.json: JSON is malformed"):
        open_source(tmp_path)
    (tmp_path / "_archive.json").write_text('{"layout": 2}')
    with pytest.raises(BadArchive, match="layout 2 was written by another version"):
        open_source(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, over_midnight())
    file = min(tmp_path.glob("day=*/camera=*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(BadArchive, match=file.name):
        read(tmp_path)
    assert any(file.name in problem for problem in audit(tmp_path).problems)


def test_the_audit_finds_what_was_copied_moved_or_taken_back(tmp_path: Path) -> None:
    rows = over_midnight()
    write(tmp_path, rows, every=6)
    ledger = read_ledger(tmp_path)
    first, *_, last = sorted(tmp_path.glob("day=*/camera=cam_0/*.parquet"))
    kept = last.read_bytes()
    last.write_bytes(first.read_bytes())
    problems = "\n".join(audit(tmp_path).problems)
    assert "beyond those of its name" in problems
    assert "events of another day" in problems
    last.write_bytes(kept)
    write_ledger(tmp_path, replace(ledger, partitions={0: replace(ledger.partitions[0], events=11)}))
    assert audit(tmp_path).problems == ("partition 0: 12 events are there, and the ledger counts 11",)


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("replay.archive.", "pyarrow"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadArchive, match=r"needs the package pyarrow.*extra `archive`"):
        open_source(tmp_path)


def test_the_queries_of_the_documentation_run(tmp_path: Path) -> None:
    at = TO_MIDNIGHT + 60 * DAY  # within November 2026 and after, as the first query asks
    rows: Rows = [
        (0, event(at, seen(confidence=0.5), seen("person", 0.25), camera="cam_1")),
        (1, event(at + 1000, seen(confidence=1.0), camera="cam_1")),
        (2, event(at + 2000, skipped="offline", camera="cam_2")),
        (3, event(0, seen(), camera="cam_1")),
    ]
    write(tmp_path, rows)
    text = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
    queries = [query.replace("'folder/", f"'{tmp_path}/") for query in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)]
    per_day, away, sure = (duckdb.sql(query.rstrip().rstrip(";")).fetchall() for query in queries)
    day = date.fromisoformat(day_name(day_of(START + at)))
    assert per_day == [("cam_1", day, "object", 2, 0.75), ("cam_1", day, "person", 1, 0.25)]
    assert [(camera, ticks) for camera, _, ticks in away] == [("cam_2", 1)]
    assert [label for label, _ in sure] == ["object", "person"]


def test_the_documented_columns_are_those_of_the_files() -> None:
    text = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
    table = text[text.index("## Schema") : text.index("Only `skipped`")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == SCHEMA.names

"""The archive on a real broker: each record of the topic once, whatever happens, and the same alerts from it."""

import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replay.archive import BadArchive, open_source
from replay.archive.audit import audit
from replay.archive.columns import rows_of
from replay.archive.ledger import Gap, read_ledger
from replay.archive.run import Told, archive
from replay.archive.source import ArchiveSource
from replay.archive.writer import Writer
from replay.history import Source
from replay.judging import Timeline
from replay.kafka_source import KafkaSource, Records
from replay.run import Side, judge
from replay.spans import Span
from runtime.kafka import TopicPartition, admin, producer, topic_id
from runtime.lifecycle import Stop
from runtime.provision import apply_topics
from schemas.codec import decode, encode
from schemas.messages import DetectionEvent
from schemas.problems import Undecodable
from schemas.topics import DETECTIONS
from tests.support.broker import new_prefix, read_all, remove_prefixed
from tests.support.broker import settings as kafka_settings
from tests.support.histories import START, histories, timelines
from tests.support.pipeline import environment, until
from tests.support.replay import timeline_of
from tests.support.rules import events, publish_events

ROOT = Path(__file__).resolve().parents[2]
DAY = 86_400_000
ALWAYS = Span(0, 1 << 60)
# The day changes 10 s after the histories begin; two days ago, so that the broker keeps them.
SHIFT = (round(time.time() * 1000) // DAY - 2) * DAY - 10_000 - START


def archive_process(bootstrap: str, prefix: str, folder: Path, *options: str) -> "subprocess.Popen[str]":
    """`backsight archive run --to FOLDER …`."""
    command = [sys.executable, "-m", "cli.main", "archive", "run", "--to", str(folder), "--prefix", prefix, *options]
    return subprocess.Popen(
        [*command, "--configs", "no-such-folder"],
        cwd=ROOT,
        env=dict(environment(bootstrap)),
        stderr=subprocess.PIPE,
        text=True,
    )


def archived(bootstrap: str, prefix: str, folder: Path, *options: str) -> tuple[int, str]:
    """Runs it to the log's end; answers the exit code and what it said."""
    process = archive_process(bootstrap, prefix, folder, "--until-end", *options)
    _, said = process.communicate(timeout=90)
    return process.returncode, said


def backsight(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Another command, which needs no Kafka."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def detections_topic(bootstrap: str, partitions: int = 3) -> Iterator[str]:
    """A prefix with nothing but the topic detections."""
    prefix = new_prefix()
    apply_topics(admin(kafka_settings(bootstrap)), prefix, partitions=partitions, topics=(DETECTIONS,))
    try:
        yield prefix
    finally:
        remove_prefixed(bootstrap, prefix)


@pytest.fixture
def detections(bootstrap: str) -> Iterator[str]:
    """The prefix of a topic detections of this test's own."""
    with detections_topic(bootstrap) as prefix:
        yield prefix


def archived_here(bootstrap: str, prefix: str, folder: Path, *, accept_gaps: bool = False) -> None:
    """The same in this process, without the command."""
    kafka, topic = kafka_settings(bootstrap), f"{prefix}detections"
    told = Told(follow=False, every_seconds=60, accept_gaps=accept_gaps)
    with Writer(folder, topic, topic_id(kafka, topic)) as writer:
        archive(kafka, told, writer, Stop(), lambda _: None)


def mixed(streams: list[list[DetectionEvent]]) -> list[DetectionEvent]:
    """Events of several cameras, one of each after the other."""
    return [each for together in itertools.zip_longest(*streams) for each in together if each is not None]


def some_events(count: int, cameras: int = 3, seed: int = 1) -> list[DetectionEvent]:
    """Events of several cameras, ``count`` of each."""
    return mixed([events(f"cam_{number}", count, seed) for number in range(cameras)])


def by_camera(source: Source, span: Span) -> dict[str, list[DetectionEvent]]:
    """What a source gives of a span."""
    found: dict[str, list[DetectionEvent]] = {}
    for some in source.read(span):
        for each in some:
            found.setdefault(each.camera_id, []).append(each)
    return found


def in_files(folder: Path) -> dict[tuple[int, int], bytes]:
    """Every record that lies in a file, by partition and offset; none may be there twice."""
    found: dict[tuple[int, int], bytes] = {}
    for file in folder.glob("day=*/camera=*/*.parquet"):
        partition = int(file.name.partition("-")[0])
        for batch in pq.ParquetFile(file).iter_batches():
            for offset, event in rows_of(batch):
                assert (partition, offset) not in found
                found[partition, offset] = encode(event)
    return found


def in_topic(bootstrap: str, prefix: str) -> dict[tuple[int, int], bytes]:
    """What can be decoded of the topic, as the codec writes it."""
    found = {}
    for record in read_all(bootstrap, f"{prefix}detections"):
        with suppress(Undecodable):
            found[record.partition(), record.offset()] = encode(
                decode(DetectionEvent, record.value(), record.headers())
            )
    return found


def batches(folder: Path) -> int:
    """How many batches are committed."""
    try:
        return read_ledger(folder).batches
    except BadArchive:
        return 0


@pytest.mark.slow
def test_kill_9_at_random_moments_ends_with_exactly_the_topics_records(bootstrap, detections, tmp_path):
    dice = random.Random(20261123)
    publish_events(bootstrap, detections, some_events(8_000, cameras=6))
    sender = producer(kafka_settings(bootstrap), "test-bad")
    for number in range(20):
        sender.produce(f"{detections}detections", key=f"cam_{number % 6}", value=b"no event")
    assert sender.flush(30) == 0
    expected = in_topic(bootstrap, detections)
    assert len(expected) == 48_000
    killed = 0
    for _ in range(6):
        process = archive_process(bootstrap, detections, tmp_path, "--until-end", "--every", "0.01s")
        try:
            seen = batches(tmp_path) + dice.randint(1, 4)
            until(
                lambda seen=seen, process=process: batches(tmp_path) >= seen or process.poll() is not None,
                60,
                "a batch",
            )
            time.sleep(dice.random() * 0.1)  # anywhere within a batch is what is meant
        finally:
            process.kill()
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
        others = in_files(tmp_path)  # nothing twice for those who read by glob, also now
        assert others.items() <= expected.items()
    assert killed >= 4
    assert archived(bootstrap, detections, tmp_path)[0] == 0
    assert in_files(tmp_path) == expected
    assert audit(tmp_path).problems == ()
    ledger = read_ledger(tmp_path)
    assert sum(reached.bad for reached in ledger.partitions.values()) == 20
    assert sum(reached.events for reached in ledger.partitions.values()) == len(expected)
    files = f"{tmp_path}/day=*/camera=*/*.parquet"
    counted = duckdb.sql(
        f"SELECT count(*), count(DISTINCT (kafka_partition, kafka_offset)) FROM read_parquet('{files}')"
    ).fetchall()
    assert counted == [(len(expected), len(expected))]
    print(f"{killed} kills, {ledger.batches} batches")


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(histories(), timelines()), min_size=2, max_size=4),
    st.integers(0, 30_000),
    st.integers(1_000, 60_000),
)
def test_kafka_and_the_archive_give_the_same_events_and_alerts(bootstrap, tmp_path_factory, drawn, begin, length):
    cameras = {f"cam_{number}": each for number, each in enumerate(drawn)}
    sides = {camera: shifted(camera, documents) for camera, (_, documents) in cameras.items()}
    recorded = mixed(
        [
            [replace(each, camera_id=camera, captured_at=each.captured_at + SHIFT) for each in history]
            for camera, (history, _) in cameras.items()
        ]
    )
    folder = tmp_path_factory.mktemp("archive")
    with detections_topic(bootstrap, 2) as prefix:
        publish_events(bootstrap, prefix, recorded)
        archived_here(bootstrap, prefix, folder)
        topic, files = KafkaSource(kafka_settings(bootstrap), prefix), open_source(folder)
        try:
            assert files.extents() == topic.extents()
            for span in (ALWAYS, Span(START + SHIFT + begin, START + SHIFT + begin + length)):
                assert by_camera(topic, span) == by_camera(files, span)
                ours, theirs = (judge(source, span, [Side("s", sides)])[0] for source in (topic, files))
                assert theirs == ours
                assert [encode(each) for each in theirs.alerts()] == [encode(each) for each in ours.alerts()]
        finally:
            topic.close()


def shifted(camera: str, documents: list) -> Timeline:
    """The documents for a camera, from so much later on."""
    moved = [
        each._replace(
            effective_from=each.effective_from and each.effective_from + SHIFT,
            rules=replace(each.rules, camera_id=camera),
        )
        for each in documents
    ]
    return timeline_of(moved)


def test_it_follows_the_topic_and_writes_what_it_read_when_told_to_stop(bootstrap, detections, tmp_path):
    made = some_events(300)
    publish_events(bootstrap, detections, made[:450])
    process = archive_process(bootstrap, detections, tmp_path, "--every", "0.2s")
    try:
        until(lambda: batches(tmp_path) and len(in_files(tmp_path)) == 450, 60, "the first half")
        publish_events(bootstrap, detections, made[450:])
        until(lambda: len(in_files(tmp_path)) == len(made), 60, "the second half")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert in_files(tmp_path) == in_topic(bootstrap, detections)


def test_what_was_read_is_written_when_it_is_told_to_stop_however_young(bootstrap, detections, tmp_path):
    publish_events(bootstrap, detections, some_events(150))
    kafka, topic, stop = kafka_settings(bootstrap), f"{detections}detections", Stop()
    told = Told(follow=True, every_seconds=3600)
    with Writer(tmp_path, topic, topic_id(kafka, topic)) as writer:
        loop = threading.Thread(target=archive, args=(kafka, told, writer, stop, lambda _: None), daemon=True)
        loop.start()
        until(lambda: writer.changed and sum(map(writer.wanted, range(3))) == 450, 60, "every record read")
        assert in_files(tmp_path) == {}
        stop.set()
        loop.join(30)
        assert not loop.is_alive()
    assert in_files(tmp_path) == in_topic(bootstrap, detections)


def delete_before(bootstrap: str, prefix: str, offset: int) -> None:
    """Removes the oldest records of partition 0, as retention does."""
    place = TopicPartition(f"{prefix}detections", 0, offset)
    cluster = admin(kafka_settings(bootstrap))  # which must outlive the answer
    for answer in cluster.delete_records([place]).values():
        answer.result(30)


def test_records_that_were_deleted_before_they_were_archived_are_said_and_counted(bootstrap, tmp_path):
    with detections_topic(bootstrap, 1) as prefix:
        publish_events(bootstrap, prefix, some_events(20))
        archived_here(bootstrap, prefix, tmp_path)
        publish_events(bootstrap, prefix, some_events(20, seed=2))
        delete_before(bootstrap, prefix, 71)
        code, said = archived(bootstrap, prefix, tmp_path)
        assert code == 2
        assert f"{prefix}detections, partition 0: offsets 60 to 70 (11 records) were deleted" in said
        assert "--accept-gap" in said
        assert sorted(offset for _, offset in in_files(tmp_path)) == list(range(60))
        assert archived(bootstrap, prefix, tmp_path, "--accept-gap")[0] == 0
        assert archived(bootstrap, prefix, tmp_path)[0] == 0
    assert sorted(offset for _, offset in in_files(tmp_path)) == [*range(60), *range(71, 120)]
    source = ArchiveSource(tmp_path)
    assert source.gaps == {0: (Gap(60, 71),)}
    assert not source.extents()[0].whole
    shown = backsight("archive", "status", str(tmp_path), "--json")
    assert json.loads(shown.stdout)["partitions"]["0"] == {
        "first": 0,
        "end": 120,
        "events": 109,
        "bad": 0,
        "gaps": [[60, 71]],
    }
    assert "gap: 60 to 70 were deleted before" in backsight("archive", "status", str(tmp_path)).stdout
    checked = backsight("archive", "check", str(tmp_path))
    assert (checked.returncode, checked.stdout) == (0, "6 files, 109 events, 0 problems\n")


def test_an_archive_of_a_topic_whose_beginning_is_gone_begins_there_and_is_not_whole(bootstrap, tmp_path):
    with detections_topic(bootstrap, 1) as prefix:
        publish_events(bootstrap, prefix, some_events(20))
        delete_before(bootstrap, prefix, 30)
        archived_here(bootstrap, prefix, tmp_path)
        (extent,) = ArchiveSource(tmp_path).extents()
        assert (extent.first, extent.end, extent.whole) == (30, 60, False)
        topic = KafkaSource(kafka_settings(bootstrap), prefix)
        assert topic.extents() == (extent,)
        topic.close()


def test_a_new_archive_may_begin_at_an_instant_and_an_old_one_goes_on(bootstrap, detections, tmp_path):
    made = some_events(100)
    publish_events(bootstrap, detections, made)
    begin = made[150].captured_at
    assert archived(bootstrap, detections, tmp_path, "--from", str(begin))[0] == 0
    topic = Records(kafka_settings(bootstrap), f"{detections}detections")
    firsts = topic.since(begin)
    topic.close()
    assert {number: reached.first for number, reached in read_ledger(tmp_path).partitions.items()} == firsts
    expected = in_topic(bootstrap, detections)
    assert sorted(in_files(tmp_path)) == sorted(place for place in expected if place[1] >= firsts[place[0]])
    code, said = archived(bootstrap, detections, tmp_path, "--from", "-7d")
    assert code == 2
    assert "goes on where it stopped; --from is for a new archive" in said


def test_a_topic_made_anew_is_not_taken_for_the_old_one(bootstrap, tmp_path):
    with detections_topic(bootstrap) as prefix:
        publish_events(bootstrap, prefix, some_events(20))
        archived_here(bootstrap, prefix, tmp_path)
        remove_prefixed(bootstrap, prefix)
        apply_topics(admin(kafka_settings(bootstrap)), prefix, partitions=3, topics=(DETECTIONS,))
        publish_events(bootstrap, prefix, some_events(40))
        code, said = archived(bootstrap, prefix, tmp_path)
        assert (code, "the topic was made anew" in said) == (2, True)
    assert len(in_files(tmp_path)) == 60


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--every", "soon"), "expected 90s, 10m or 1h"),
        (("--every", "0s"), "expected 90s, 10m or 1h"),
        (("--from", "soon"), "'soon' is no instant"),
    ],
)
def test_a_wrong_option_is_refused(bootstrap, detections, tmp_path, options, expected):
    code, said = archived(bootstrap, detections, tmp_path / "new", *options)
    assert code == 2
    assert expected in said


def test_a_missing_topic_is_named(bootstrap, tmp_path):
    code, said = archived(bootstrap, "nobody.", tmp_path)
    assert code == 3
    assert "nobody.detections" in said
    assert list(tmp_path.iterdir()) == []

"""Newest wins while the broker is slow; what may not be lost waits."""

import threading
from collections.abc import Iterator

import pytest

from ingest.publisher import UNACKED, UNACKED_LOSSLESS, Outgoing, Publisher
from runtime import metrics
from runtime.settings import KafkaSettings
from schemas.frames import FrameHead

NOBODY = KafkaSettings(bootstrap_servers="127.0.0.1:1")


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """One whose broker never answers: frames are handed to the client and never acknowledged."""
    publisher = Publisher(NOBODY, "frames")
    yield publisher
    publisher.close(0.0)


def frame(seq: int, mode: str = "live") -> Outgoing:
    return Outgoing(FrameHead(seq, 1000 + seq, 0, "live" if mode == "live" else "complete", 64, 64, 64, 64), b"jpeg")


def dropped(camera_id: str) -> float:
    return float(metrics.CAMERA_DROPPED.labels(camera_id, "broker_slow")._value.get())


def waiting(publisher: Publisher, camera_id: str) -> list[int]:
    lane = publisher._lanes[camera_id]
    with publisher._changed:
        assert publisher._changed.wait_for(lambda: lane.unacked >= lane.most_unacked or not lane.waiting, 5)
        return [each.head.seq for each in lane.waiting]


def test_the_oldest_waiting_frame_goes_before_it_is_produced(publisher: Publisher) -> None:
    publisher.add("slow", fps=5)
    for seq in range(UNACKED):
        publisher.offer("slow", frame(seq))
    assert waiting(publisher, "slow") == []
    for seq in range(UNACKED, UNACKED + 25):
        publisher.offer("slow", frame(seq))
    # Two seconds' worth of the newest remain; nothing that was handed to the client is touched.
    assert waiting(publisher, "slow") == list(range(UNACKED + 15, UNACKED + 25))
    assert dropped("slow") == 15


def test_a_slow_camera_takes_nothing_from_another(publisher: Publisher) -> None:
    publisher.add("many", fps=5)
    publisher.add("few", fps=5)
    for seq in range(100):
        publisher.offer("many", frame(seq))
    publisher.offer("few", frame(0))
    assert waiting(publisher, "few") == []
    assert dropped("few") == 0


def test_what_may_not_be_lost_waits_for_room(publisher: Publisher) -> None:
    publisher.add("film", fps=5, lossless=True)
    taken = 0
    while publisher.put("film", frame(taken, "complete"), 0.2):
        taken += 1
    assert taken == UNACKED_LOSSLESS + 10
    assert dropped("film") == 0
    assert publisher.ahead("film", 0) == taken


def test_waiting_for_room_ends_when_the_camera_is_taken_away(publisher: Publisher) -> None:
    publisher.add("film", fps=1, lossless=True)
    while publisher.put("film", frame(0, "complete"), 0.1):
        pass
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(publisher.put("film", frame(1, "complete"), 30)))
    waiter.start()
    publisher.remove("film")
    waiter.join(5)
    assert answers == [False]


def test_frames_of_a_camera_that_was_taken_away_are_not_sent(publisher: Publisher) -> None:
    publisher.add("gone", fps=5)
    publisher.remove("gone")
    publisher.offer("gone", frame(0))
    assert publisher.drain("gone", 0)
    assert publisher.close(0.1) == 0

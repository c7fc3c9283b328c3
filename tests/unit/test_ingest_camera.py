"""One camera's loop against scripted sources: ticks, trouble said once, changed sizes, a hung read."""

import threading
import time
from collections.abc import Callable, Iterator

import av
import numpy as np
import pytest
from structlog.testing import capture_logs

from ingest import camera as camera_module
from ingest.camera import CameraRun, State
from ingest.publisher import Outgoing, Publisher
from ingest.sources import Picture, SourceFault
from runtime.configs import ResolvedCamera
from schemas.documents.cameras import Camera
from schemas.messages import CameraState

START = 1_795_000_000_000.0


class Kept(Publisher):
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.outgoing: list[Outgoing] = []
        self.statuses: list[tuple[CameraState, int]] = []
        self._came = threading.Condition()

    def add(self, camera_id: str, fps: float, *, lossless: bool = False) -> None: ...

    def offer(self, camera_id: str, outgoing: Outgoing) -> None:
        with self._came:
            self.outgoing.append(outgoing)
            self._came.notify_all()

    def drain(self, camera_id: str, seconds: float) -> bool:
        return True

    def tell(self, camera_id: str, state: CameraState, since: int) -> None:
        with self._came:
            if not self.statuses or self.statuses[-1][0] != state:
                self.statuses.append((state, since))
                self._came.notify_all()

    def until_told(self, *states: CameraState) -> list[int]:
        """Since when each was so, once these were told one after the other."""
        with self._came:
            assert self._came.wait_for(
                lambda: tuple(state for state, _ in self.statuses)[: len(states)] == states, 10
            ), self.statuses
            return [since for _, since in self.statuses[: len(states)]]

    def until(self, count: int) -> list[Outgoing]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.outgoing) >= count, 10), self.outgoing
            return list(self.outgoing)


class Script:
    """A source whose pictures and faults are written down."""

    def __init__(self, steps: Iterator[Picture], endless: bool = True) -> None:
        self.endless = endless
        self._steps = steps
        self.closed = False

    def pictures(self) -> Iterator[Picture]:
        return self._steps

    def close(self) -> None:
        self.closed = True


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at


def picture(at_ms: float, size: tuple[int, int] = (64, 48), seed: int = 0) -> Picture:
    shade = np.random.default_rng(seed + int(at_ms)).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Picture(av.VideoFrame.from_ndarray(shade, format="rgb24"), at_ms)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, clock: Clock, kept: Kept) -> Iterator[Callable[..., CameraRun]]:
    """Makes a camera that opens these sources (or meets these faults), one at every connection."""
    runs: list[CameraRun] = []

    def make(*connections: Script | SourceFault, after: int | None = None, **more: object) -> CameraRun:
        left = list(connections)

        def opened(*_: object) -> Script:
            if not left:
                threading.Event().wait(0.01)
                raise SourceFault("unreachable", "rtsp://cam/x: nothing more is written down")
            step = left.pop(0)
            if isinstance(step, SourceFault):
                raise step
            return step

        monkeypatch.setattr(camera_module, "open_source", opened)
        monkeypatch.setattr(camera_module, "wait_before", lambda *_, **__: 0.005)
        camera = Camera.model_validate({"id": "gate", "url": "rtsp://admin:hunter2@cam/x", **more})
        made = CameraRun(
            ResolvedCamera(camera, "rtsp://admin:hunter2@cam/x"), kept, clock, after, lambda _: True, kept.tell
        )
        runs.append(made)
        made.start()
        return made

    yield make
    for each in runs:
        each.stop()
        assert each.join(5)


def test_a_camera_that_is_away_ticks_from_one_second_on(
    run: Callable[..., CameraRun], clock: Clock, kept: Kept
) -> None:
    camera = run()
    camera.tick()
    assert kept.outgoing == []
    for second in (1, 2, 3):
        clock.at = START + 1000 * second
        camera.tick()
    heads = [each.head for each in kept.outgoing]
    assert [head.captured_at for head in heads] == [START + 1000, START + 2000, START + 3000]
    assert [head.seq for head in heads] == [0, 1, 2]
    assert all(each.value == b"" and each.head.width == 0 for each in kept.outgoing)


def test_ticks_and_pictures_are_one_increasing_count_after_what_is_known(
    run: Callable[..., CameraRun], clock: Clock, kept: Kept
) -> None:
    gate = threading.Event()

    def later() -> Iterator[Picture]:
        gate.wait(5)
        clock.at = START + 1500
        yield picture(0)
        clock.at = START + 1900
        yield picture(400)

    camera = run(Script(later()), after=int(START) + 2000)
    clock.at = START + 1100
    camera.tick()
    gate.set()
    sent = kept.until(3)
    assert [each.head.captured_at for each in sent[:3]] == [START + 2001, START + 2002, START + 2003]
    assert [each.head.seq for each in sent[:3]] == [0, 1, 2]


def test_a_hung_read_is_noticed_from_outside(run: Callable[..., CameraRun], clock: Clock, kept: Kept) -> None:
    hung = threading.Event()

    def hangs() -> Iterator[Picture]:
        yield picture(0)
        hung.wait(10)
        yield picture(30_000)

    camera = run(Script(hangs()), no_frame_seconds=20)
    kept.until(1)
    clock.at = START + 19_000
    camera.tick()
    assert camera.state is State.WATCHING
    clock.at = START + 21_000
    camera.tick()
    assert camera.state is State.AWAY
    clock.at = START + 22_500
    camera.tick()
    assert [bool(each.value) for each in kept.outgoing] == [True, False]
    clock.at = START + 30_000
    hung.set()
    sent = kept.until(3)
    assert kept.until_told("offline", "live", "offline", "live") == [START, START, START + 21_000, START + 30_000]
    assert [bool(each.value) for each in sent[:3]] == [True, False, True]


def test_trouble_is_said_once_and_again_after_it_was_over(run: Callable[..., CameraRun], kept: Kept) -> None:
    fault = SourceFault("unreachable", "rtsp://admin:hunter2@cam/x: cannot be reached")
    with capture_logs() as logs:
        run(fault, fault, fault, Script(iter([picture(0)])), fault, fault)
        deadline = time.monotonic() + 5
        said: list[str] = []
        while said.count("unreachable") < 2 and time.monotonic() < deadline:
            said = [line["reason"] for line in list(logs) if line["event"] == "camera_away"]
            time.sleep(0.01)
    assert said == ["unreachable", "ended", "unreachable"]
    assert "hunter2" not in str(logs)


def test_a_picture_size_that_changes_is_said_and_followed(
    run: Callable[..., CameraRun], clock: Clock, kept: Kept
) -> None:
    def grows() -> Iterator[Picture]:
        for number in range(4):
            clock.at = START + 200 * number
            yield picture(200.0 * number, (64, 48) if number < 2 else (128, 96))

    with capture_logs() as logs:
        run(Script(grows()))
        sent = kept.until(4)
    assert [each.head.source_width for each in sent[:4]] == [64, 64, 128, 128]
    changed = next(line for line in logs if line["event"] == "picture_size_changed")
    assert (changed["before"], changed["now"]) == ([64, 48], [128, 96])


def test_an_error_nobody_foresaw_is_trouble_like_any_other(
    run: Callable[..., CameraRun], clock: Clock, kept: Kept
) -> None:
    def breaks() -> Iterator[Picture]:
        yield picture(0)
        raise RuntimeError("rtsp://admin:hunter2@cam/x burst")

    def goes_on() -> Iterator[Picture]:
        clock.at = START + 5000
        yield picture(0)

    with capture_logs() as logs:
        run(Script(breaks()), Script(goes_on()))
        kept.until(2)
    assert any("RuntimeError" in line.get("message", "") for line in logs)
    assert "hunter2" not in str(logs)


def test_nothing_is_sent_once_it_is_stopped(run: Callable[..., CameraRun], clock: Clock, kept: Kept) -> None:
    stopped = threading.Event()

    def two() -> Iterator[Picture]:
        yield picture(0)
        stopped.wait(5)
        clock.at = START + 1000
        yield picture(1000)

    camera = run(Script(two()))
    kept.until(1)
    camera.stop()
    stopped.set()
    assert camera.join(5)
    clock.at = START + 60_000
    camera.tick()
    assert len(kept.outgoing) == 1


def test_a_frozen_picture_is_flagged(run: Callable[..., CameraRun], clock: Clock, kept: Kept) -> None:
    def still() -> Iterator[Picture]:
        same = picture(0)
        for number in range(40):
            clock.at = START + 200 * number
            yield Picture(same.frame, 200.0 * number)

    with capture_logs() as logs:
        run(Script(still()), frozen_seconds=6)
        kept.until(40)
    assert [line["event"] for line in logs].count("picture_frozen") == 1
    assert kept.until_told("offline", "live", "frozen")[2] == START, "since the picture came first"


def test_a_frozen_camera_that_is_lost_is_offline_and_one_that_moves_again_is_live(
    run: Callable[..., CameraRun], clock: Clock, kept: Kept
) -> None:
    def still() -> Iterator[Picture]:
        same = picture(0)
        for number in range(40):
            clock.at = START + 200 * number
            yield Picture(same.frame, 200.0 * number)

    def moves() -> Iterator[Picture]:
        for number in range(40):
            clock.at = START + 20_000 + 200 * number
            yield picture(200.0 * number, seed=7)

    run(Script(still()), Script(moves()), frozen_seconds=6)
    kept.until_told("offline", "live", "frozen", "offline", "frozen", "live", "offline")

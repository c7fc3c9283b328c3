"""Where an alert's picture comes from: its frame, another side's frame, the picture memory, or nowhere."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import pytest
from msgspec import structs

from replay.diff import Difference
from replay.report.pictures import WIDEST, PictureFinder
from rules.kinds import PictureSize
from runtime.frame_records import Frame
from runtime.kafka import BrokerUnreachable
from runtime.picture_memory import PictureMemory
from runtime.store import StoreTrouble
from schemas.frames import FrameHead
from schemas.messages import Alert, FrameRef
from tests.support.comparisons import BEGIN, comparison, raised

NEAR_MS = 3000


def jpeg(width: int = 64, height: int = 36) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes()


def frame_of(alert: Alert, content: bytes = jpeg(), **head: int) -> Frame:
    facts = {"captured_at": alert.evidence.captured_at, "source_width": 1920, "source_height": 1080} | head
    return Frame(alert.camera_id, FrameHead(seq=1, produced_at=0, mode="live", width=64, height=36, **facts), content)


class Frames:
    """Frames by their reference; None: the broker is away."""

    def __init__(self, frames: dict[FrameRef, Frame] | None) -> None:
        self._frames = frames

    def read(self, refs: Iterable[FrameRef]) -> Iterator[tuple[FrameRef, Frame]]:
        if self._frames is None:
            raise BrokerUnreachable("no broker answered")
        yield from ((ref, self._frames[ref]) for ref in refs if ref in self._frames)


@pytest.fixture
def memory() -> PictureMemory:
    return PictureMemory("memory://report-pictures")


def finder(frames: dict[FrameRef, Frame] | None, memory: PictureMemory | None = None) -> PictureFinder:
    return PictureFinder(Frames(frames), memory, NEAR_MS)


def one(before: Alert | None, after: Alert | None) -> Difference:
    (difference,) = comparison([before] if before else [], [after] if after else []).differences
    return difference


def test_an_alerts_own_frame_is_taken_first(memory: PictureMemory) -> None:
    alert = raised(60)
    memory.keep(alert.camera_id, alert.opened_at, jpeg(32, 18))
    (found,) = finder({alert.evidence.frame: frame_of(alert)}, memory).find([one(None, alert)])
    assert found is not None
    assert found.jpeg == jpeg()
    assert (found.size, found.source_size) == (PictureSize(64, 36), PictureSize(1920, 1080))
    assert found.words == "its frame, from the topic frames (partition 0, offset 600)"


def test_a_frame_of_another_time_or_camera_at_the_same_offset_is_not_taken() -> None:
    alert = raised(60)
    again = frame_of(alert, captured_at=BEGIN)
    other = frame_of(structs.replace(alert, camera_id="cam_2"))
    for frame in (again, other):
        assert finder({alert.evidence.frame: frame}).find([one(None, alert)]) == [None]


def test_where_the_candidates_frame_is_gone_that_of_the_alert_before_is_shown() -> None:
    before, after = raised(60), raised(58)
    (found,) = finder({before.evidence.frame: frame_of(before)}).find([one(before, after)])
    assert found is not None
    assert found.evidence == before.evidence


def test_where_no_frame_is_left_the_nearest_kept_picture_is_shown(memory: PictureMemory) -> None:
    alert = raised(1234)
    memory.keep(alert.camera_id, alert.opened_at - 800, jpeg(32, 18))
    (found,) = finder({}, memory).find([one(alert, None)])
    assert found is not None
    assert found.size == PictureSize(32, 18)
    assert found.source_size is None
    assert found.words == "from the picture memory, 0.8 s earlier"


def test_where_nothing_is_kept_near_the_alert_there_is_no_picture(memory: PictureMemory) -> None:
    alert = raised(5000)
    memory.keep(alert.camera_id, alert.opened_at + NEAR_MS + 1, jpeg())
    assert finder({}, memory).find([one(alert, None)]) == [None]
    assert finder({}).find([one(alert, None)]) == [None]


def test_a_broker_that_is_away_leaves_the_picture_memory(memory: PictureMemory) -> None:
    alert = raised(7000)
    memory.keep(alert.camera_id, alert.opened_at, jpeg())
    finding = finder(None, memory)
    (found,) = finding.find([one(alert, None)])
    assert found is not None
    assert found.words == "from the picture memory, of the same instant"
    assert finding.troubles == ["frames could not be read: no broker answered"]


def test_a_store_that_fails_is_asked_once_and_said_once() -> None:
    class Failing:
        asked = 0

        def find(self, camera_id: str, at: int, within_ms: int) -> None:
            self.asked += 1
            raise StoreTrouble("the bucket is gone")

    store = Failing()
    finding = PictureFinder(Frames({}), store, NEAR_MS)
    assert finding.find([one(raised(60), None), one(raised(90), None)]) == [None, None]
    assert store.asked == 1
    assert finding.troubles == ["the picture memory could not be read: the bucket is gone"]


def test_a_wide_picture_is_made_smaller() -> None:
    alert = raised(60)
    wide = frame_of(alert, jpeg(2560, 1440))
    (found,) = finder({alert.evidence.frame: wide}).find([one(None, alert)])
    assert found is not None
    assert found.size == PictureSize(WIDEST, 720)


@pytest.mark.parametrize(
    "content", [b"no picture", jpeg(2560, 1440)[:900], cv2.imencode(".png", np.zeros((4, 4)))[1].tobytes()]
)
def test_what_is_no_jpeg_is_left_out_and_said(content: bytes) -> None:
    alert = raised(60)
    finding = finder({alert.evidence.frame: frame_of(alert, content)})
    assert finding.find([one(None, alert)]) == [None]
    (said,) = finding.troubles
    assert said.startswith("a picture was left out: ")

"""Clips: which frames, when, and what a player gets."""

import io
import threading
from contextlib import nullcontext
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from evidence.clip import LAST_MS, SETTLED_MS, ClipBusy, ClipGone, ClipNotYet, Clips, make_clip
from evidence.store import EvidenceStore
from runtime.frame_records import Frame
from schemas.frames import FrameHead
from tests.support.alerts import OPENED_AT, opened

ALERT = opened(camera="gate")


def frame(ms: int, grey: int = 90, width: int = 64, height: int = 48, camera: str = "gate") -> Frame:
    jpeg = simplejpeg.encode_jpeg(np.full((height, width, 3), grey, np.uint8))
    return Frame(camera, FrameHead(0, OPENED_AT + ms, OPENED_AT + ms, "live", width, height, width, height), jpeg)


def shown(clip: bytes) -> list[tuple[int, float]]:
    """Milliseconds from the beginning and mean grey of every picture but the repeated last one."""
    with av.open(io.BytesIO(clip)) as video:
        pictures = [
            (round(each.time * 1000), float(each.to_ndarray(format="rgb24").mean())) for each in video.decode(0)
        ]
    return pictures[:-1]


def test_every_frame_is_shown_at_its_capture_time():
    pictures = shown(make_clip([frame(-400, 40), frame(-200, 80), frame(250, 120), frame(260, 160)]))
    assert [ms for ms, _ in pictures] == [0, 200, 650, 660]
    assert [grey for _, grey in pictures] == pytest.approx([40, 80, 120, 160], abs=4)


def test_a_clip_is_a_video_that_a_browser_plays_from_its_beginning():
    clip = make_clip([frame(0), frame(200)])
    assert clip.index(b"moov") < clip.index(b"mdat")
    with av.open(io.BytesIO(clip)) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.duration / 1000 == pytest.approx(200 + 2 * LAST_MS, abs=LAST_MS)


def test_frames_that_do_not_decode_or_go_back_in_time_are_left_out():
    broken = frame(100)._replace(jpeg=b"\xff\xd8\xff no picture")
    assert [ms for ms, _ in shown(make_clip([frame(0), broken, frame(200), frame(200), frame(150), frame(400)]))] == [
        0,
        200,
        400,
    ]


def test_no_frame_is_no_clip():
    with pytest.raises(ClipGone):
        make_clip([])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=4))
def test_no_size_breaks_a_clip(sizes):
    frames = [frame(200 * number, width=width, height=height) for number, (width, height) in enumerate(sizes)]
    assert len(shown(make_clip(frames))) == len(sizes)


class Around:
    """Frames of the topic, whatever is asked."""

    def __init__(self, *frames: Frame) -> None:
        self.frames = frames
        self.asked: list[tuple[int, int]] = []

    def around(self, ref, before_ms, after_ms):
        self.asked.append((before_ms, after_ms))
        return iter(self.frames)


def clips(folder: Path, around: Around, now: int) -> Clips:
    return Clips(EvidenceStore(str(folder)), lambda: nullcontext(around), 5000, 10_000, lambda: now)


def test_a_clip_is_made_once_and_kept(tmp_path):
    around = Around(frame(-200), frame(0), frame(200), frame(20_000), frame(100, camera="dock"))
    made = clips(tmp_path, around, OPENED_AT + 12_000)
    clip = made.clip(ALERT)
    assert [ms for ms, _ in shown(clip)] == [0, 200, 400]
    assert made.clip(ALERT) == clip
    assert around.asked == [(5000, 10_000)]


def test_a_clip_waits_for_its_last_second(tmp_path):
    with pytest.raises(ClipNotYet) as early:
        clips(tmp_path, Around(), OPENED_AT + 4500).clip(ALERT)
    assert early.value.seconds * 1000 >= 10_000 + SETTLED_MS - 4500
    assert list(tmp_path.iterdir()) == []


def test_a_recording_of_long_ago_is_waited_for_until_its_last_second_was_played(tmp_path):
    """Else the clip would end where the reading had come to, and be kept so."""
    played = OPENED_AT + 30 * 86_400_000

    def sent(ms: int) -> Frame:
        made = frame(ms)
        return made._replace(head=structs.replace(made.head, produced_at=played + ms))

    around = Around(sent(-200), sent(0), sent(200))
    with pytest.raises(ClipNotYet) as early:
        clips(tmp_path, around, played + 4000).clip(ALERT)
    assert early.value.seconds * 1000 == 10_000 + SETTLED_MS - 4000
    assert list(tmp_path.iterdir()) == []
    assert [ms for ms, _ in shown(clips(tmp_path, around, played + 12_000).clip(ALERT))] == [0, 200, 400]


def test_where_the_frames_are_gone_nothing_is_kept(tmp_path):
    with pytest.raises(ClipGone):
        clips(tmp_path, Around(), OPENED_AT + 60_000).clip(ALERT)
    assert list(tmp_path.iterdir()) == []


def test_one_clip_is_made_at_a_time(tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Around):
        def around(self, ref, before_ms, after_ms):
            begun.set()
            go_on.wait(20)
            return iter([frame(0)])

    made = clips(tmp_path, Slow(), OPENED_AT + 60_000)
    first = threading.Thread(target=made.clip, args=(ALERT,))
    first.start()
    assert begun.wait(20)
    with pytest.raises(ClipBusy):
        made.clip(opened(1, camera="gate"))
    go_on.set()
    first.join(20)
    assert made.clip(ALERT)

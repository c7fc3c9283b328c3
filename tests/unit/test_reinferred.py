"""Another look's events in the place of the recorded ones, and what a run holds on to."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from replay.frame_plan import Plan
from replay.history import Extent
from replay.reinferred import Spliced
from replay.spans import Span
from replay.trial import Refused
from schemas.messages import DetectionEvent, Model
from tests.support.histories import event

OLD, NEW = Model("old", "1", "00" * 32), Model("new", "1", "11" * 32)


class Kept:
    """A history in memory: one partition, in the order given."""

    def __init__(self, events: Sequence[DetectionEvent]) -> None:
        self._events = events
        self.closed = False

    def extents(self) -> tuple[Extent, ...]:
        first = self._events[0].captured_at if self._events else None
        return (Extent(0, 0, len(self._events), first, True),)

    def cameras(self) -> tuple[str, ...] | None:
        return None

    def extent_of(self, camera_id: str) -> Extent:
        return self.extents()[0]

    def read(self, span: Span, cameras: frozenset[str] | None = None) -> Iterator[list[DetectionEvent]]:
        closed = set()
        for each in self._events:
            if cameras is not None and each.camera_id not in cameras:
                continue
            if each.captured_at >= span.end:
                if each.camera_id in closed:
                    continue
                closed.add(each.camera_id)
            if each.captured_at >= span.begin:
                yield [each]

    def close(self) -> None:
        self.closed = True


def history(times: Sequence[int], model: Model, camera: str = "a") -> list[DetectionEvent]:
    return [structs.replace(event(0, camera=camera), captured_at=at, model=model) for at in times]


def read(source: Spliced, span: Span, cameras: frozenset[str] | None = None) -> list[tuple[str, int, str]]:
    return [
        (each.camera_id, each.captured_at, each.model.name) for events in source.read(span, cameras) for each in events
    ]


def test_the_span_is_what_was_looked_at_again_and_around_it_is_what_was_recorded() -> None:
    recorded, again = Kept(history(range(0, 100, 10), OLD)), Kept(history(range(30, 60, 10), NEW))
    source = Spliced(recorded, again, Span(30, 60))
    assert read(source, Span(0, 60)) == [
        *(("a", at, "old") for at in (0, 10, 20)),
        *(("a", at, "new") for at in (30, 40, 50)),
        ("a", 60, "old"),
    ]
    source.close()
    assert recorded.closed
    assert again.closed


def test_where_the_first_frames_are_gone_the_recorded_events_stand() -> None:
    source = Spliced(Kept(history(range(0, 60, 10), OLD)), Kept(history([40, 50], NEW)), Span(20, 60))
    assert read(source, Span(0, 60)) == [("a", at, "old" if at < 40 else "new") for at in range(0, 60, 10)]


def test_a_camera_that_was_not_looked_at_again_is_as_it_was_recorded() -> None:
    recorded = Kept([*history([0, 10, 20, 30], OLD, "b"), *history([0, 10, 20, 30], OLD)])
    source = Spliced(recorded, Kept(history([10, 20], NEW)), Span(10, 30))
    assert [each for each in read(source, Span(0, 30)) if each[0] == "b"] == [
        ("b", at, "old") for at in range(0, 40, 10)
    ]
    assert {camera for camera, _, _ in read(source, Span(0, 30), frozenset({"a"}))} == {"a"}


@given(
    times=st.sets(st.integers(0, 200), max_size=40).map(sorted),
    begin=st.integers(0, 100),
    length=st.integers(1, 100),
    back=st.integers(0, 100),
)
def test_the_same_model_gives_the_same_history(times: list[int], begin: int, length: int, back: int) -> None:
    span = Span(begin, begin + length)
    recorded = history(times, OLD)
    again = [each for each in recorded if span.holds(each.captured_at)]
    asked = Span(max(0, begin - back), span.end)
    spliced = Spliced(Kept(recorded), Kept(again), span)
    plain = [("a", each.captured_at, "old") for events in Kept(recorded).read(asked) for each in events]
    assert read(spliced, asked) == plain


PLAN = Plan("next", Span(0, 10), None, "models/next.onnx", NEW, 0.1, 0.5, {0: 0}, {0: 9}, ())


@pytest.mark.parametrize(
    "change",
    [{"model": OLD}, {"floor": 0.3}, {"iou": 0.7}, {"cameras": ("gate",)}],
    ids=lambda change: next(iter(change)),
)
def test_a_run_does_not_go_on_with_something_else_than_it_began_with(change: dict[str, object]) -> None:
    with pytest.raises(Refused, match=f"began with {next(iter(change))}"):
        PLAN.check_same(structs.replace(PLAN, **change))


def test_a_run_goes_on_whatever_came_and_went_meanwhile() -> None:
    PLAN.check_same(structs.replace(PLAN, span=Span(5, 20), starts={0: 4}, ends={0: 99}))


@pytest.mark.parametrize(("camera", "at", "wanted"), [("gate", 0, True), ("gate", 10, False), ("yard", 5, False)])
def test_a_frame_is_looked_at_where_its_camera_and_its_capture_time_are_asked_for(
    camera: str, at: int, wanted: bool
) -> None:
    assert structs.replace(PLAN, cameras=("gate",)).wants(camera, at) is wanted

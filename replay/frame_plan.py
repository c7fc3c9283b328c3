"""What a run over stored frames is about: written down when it begins, so that it can go on as it began."""

import msgspec
from msgspec import Struct

from inference.frames import MAX_AHEAD_MS
from replay.history import Source
from replay.kafka_source import KafkaSource, Records
from replay.runs import create_topics, newest_document, write_document
from replay.spans import Span, in_words
from replay.trial import Refused
from runtime.kafka import producer
from runtime.settings import Settings
from schemas.messages import Model
from schemas.topics import DETECTIONS, FRAMES


class Gone(Struct, frozen=True):
    """Frames of a partition that were deleted before they were looked at: offsets from ``first``, ``end`` not."""

    partition: int
    first: int
    end: int


class Plan(Struct, frozen=True):
    """What a run looks at, and with what; it does not change while the run goes on.

    ``model_path`` and ``iou`` are those of the settings it began with. ``cameras`` None: all. ``starts`` and ``ends``
    are the offsets of `frames` between which the span's frames lie, by partition. ``gone`` grows where frames are
    deleted meanwhile.
    """

    run: str
    span: Span
    cameras: tuple[str, ...] | None
    model_path: str
    model: Model
    floor: float
    iou: float
    starts: dict[int, int]
    ends: dict[int, int]
    gone: tuple[Gone, ...]

    @property
    def only(self) -> frozenset[str] | None:
        """``cameras`` as a set."""
        return None if self.cameras is None else frozenset(self.cameras)

    def wants(self, camera_id: str, captured_at: int) -> bool:
        """Whether a frame is looked at."""
        return self.span.holds(captured_at) and (self.cameras is None or camera_id in self.cameras)

    def check_same(self, other: "Plan") -> None:
        """Raises `Refused` where ``other`` would look with something else than the run began with."""
        began, asked = self._terms(), other._terms()
        for name, words in began.items():
            if asked[name] != words:
                raise Refused(
                    f"--run {self.run} began with {name} {words}, and this asks for {asked[name]}; name another run"
                )

    def _terms(self) -> dict[str, str]:
        model = self.model
        return {
            "model": f"{model.name} {model.version} ({model.sha256[:12]})",
            "floor": f"{self.floor:g}",
            "iou": f"{self.iou:g}",
            "cameras": "all" if self.cameras is None else ",".join(self.cameras),
        }


def plan_of(
    settings: Settings, run: str, span: Span, cameras: frozenset[str] | None, model: Model, floor: float
) -> Plan:
    """What there is to look at now, up to the log end of this moment. Writes nothing. Raises `BrokerUnreachable`."""
    frames = Records(settings.kafka, FRAMES.full_name(settings.prefix), client_id="backsight-reinfer")
    try:
        # A frame may have been captured ahead of the clock by which it was produced, never far behind it.
        starts = frames.since(span.begin - MAX_AHEAD_MS)
        return Plan(
            run=run,
            span=span,
            cameras=None if cameras is None else tuple(sorted(cameras)),
            model_path=settings.services.inference.model_path,
            model=model,
            floor=floor,
            iou=settings.services.inference.iou,
            starts=starts,
            ends={number: end for number, (_, end) in frames.spans.items()},
            gone=tuple(Gone(number, 0, low) for number, (low, _) in frames.spans.items() if low),
        )
    finally:
        frames.close()


def begin(settings: Settings, plan: Plan) -> None:
    """Makes the run's topics and writes the plan down. Raises `Refused` where the run exists."""
    create_topics(settings, plan.run, "detections", "plan", "manifest")
    write_plan(settings, plan)


def read_plan(settings: Settings, run: str) -> Plan | None:
    """What a run that was begun is about; None where there is no such run. Raises `BrokerUnreachable`."""
    written = newest_document(settings, run, "plan")
    return None if written is None else msgspec.json.decode(written, type=Plan)


def check_frames(settings: Settings, plan: Plan, *, partial: bool) -> list[str]:
    """Which frames of the span are gone, in sentences. Raises `Refused` where any is and ``partial`` is not set."""
    recorded = KafkaSource(settings.kafka, settings.prefix, DETECTIONS.name)
    try:
        missing = _missing_frames(settings, plan, recorded)
    finally:
        recorded.close()
    if missing and not partial:
        raise Refused(f"frames of the span are deleted (--partial goes on without them): {'; '.join(missing)}")
    return missing


def _missing_frames(settings: Settings, plan: Plan, recorded: Source) -> list[str]:
    """Which frames of the span are gone, in sentences, by what ``recorded`` knows of them; empty where none is."""
    topic = FRAMES.full_name(settings.prefix)
    gone: dict[int, list[Gone]] = {}
    for each in plan.gone:
        gone.setdefault(each.partition, []).append(each)
    lost: dict[str, list[int]] = {}
    for events in recorded.read(plan.span, plan.only):
        for event in events:
            frame = event.frame
            if (
                plan.wants(event.camera_id, event.captured_at)
                and frame.topic == topic
                and any(each.first <= frame.offset < each.end for each in gone.get(frame.partition, ()))
            ):
                lost.setdefault(event.camera_id, []).append(event.captured_at)
    return [
        f"{camera_id}: {len(times)} frames from {in_words(min(times))} to {in_words(max(times))}"
        for camera_id, times in sorted(lost.items())
    ]


def write_plan(settings: Settings, plan: Plan) -> None:
    """Writes the plan as it is now, and waits until the broker has it."""
    write_document(settings.prefix, plan.run, "plan", plan, producer(settings.kafka, "backsight-reinfer-plan"))

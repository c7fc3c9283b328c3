"""A scenario: what a camera sees over time in a few lines, a ROI document, and the alerts that are expected.

How one is written is docs/scenarios.md; `rules.scenario` plays it.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints, model_validator

from schemas.documents.cameras import CameraId
from schemas.documents.reading import Document, read_document
from schemas.documents.rois import CameraRois, Rois
from schemas.documents.scenario_lines import FACTS, BadLine, Expected, Seen, expected, instants, seen, time_of
from schemas.messages import Phase, Skipped
from schemas.problems import BadDocument, Problem

MOST_EVENTS: Final = 200_000
"""A scenario is read by people; more than this is a slip of the pen in an `every`."""

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _none_or_lines(written: Any) -> Any:
    return () if written == "nothing" else written


def _pair(written: Any, example: str) -> tuple[Any, Any]:
    """The two sides of a line's colon."""
    if isinstance(written, dict) and len(written) == 1:
        ((left, right),) = written.items()
        return left, right
    raise BadLine(f"expected one line like `{example}`, with a space after the colon")


class OneCameraRois(CameraRois):
    """A camera's entry of `rois.yaml`, in which `camera_id` may be left out."""

    camera_id: CameraId = "camera"


class EventLine(Document):
    """One event or a row of them: milliseconds after the start, and what each of them holds."""

    at: tuple[int, ...]
    seen: tuple[Seen, ...] = ()
    skipped: Skipped | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, written: Any) -> Any:
        when, what = _pair(written, "1.4s: object at 0.5 0.5")
        detections, skipped = seen(what)
        return {"at": instants(when, MOST_EVENTS), "seen": detections, "skipped": skipped}


class ExpectLine(Document):
    """One alert phase: milliseconds after the start, and what is asked of it (only what was written)."""

    at: int
    phase: Phase
    subject: str
    facts: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, written: Any) -> Any:
        when, what = _pair(written, "1.4s: opened object in zone")
        asked: Expected = expected(what)
        return {"at": time_of(when), **asked._asdict()}


class Revised(Document):
    """Another ROI document from an instant on."""

    from_: Annotated[int, BeforeValidator(time_of)] = Field(alias="from")
    rois: OneCameraRois


class Counted(Document):
    """What is counted and opens nothing. Only what is written is compared."""

    late: int | None = Field(default=None, ge=0)
    unlisted: int | None = Field(default=None, ge=0)
    out_of_bounds: int | None = Field(default=None, ge=0)


class Dated(NamedTuple):
    """One ROI document of a scenario: the time after the start from which it holds (None: always), and its place."""

    from_: int | None
    place: str
    rois: CameraRois


class Scenario(Document):
    """One file.

    ``rois`` holds from the beginning, ``revisions`` follow it. ``picture`` is the source picture in pixels. ``start``
    is the instant of `0s`; it matters where a ROI has active times.
    """

    what: Text
    rois: OneCameraRois | None = None
    revisions: tuple[Revised, ...] = ()
    picture: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = (1600, 800)
    start: Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST)] = datetime(2026, 1, 5, 12, tzinfo=UTC)
    events: tuple[EventLine, ...]
    expect: Annotated[tuple[ExpectLine, ...], BeforeValidator(_none_or_lines)]
    counted: Counted = Counted()

    @property
    def camera_id(self) -> str:
        """The camera that all documents and events are of."""
        return next(iter(self._named), "camera")

    @property
    def _named(self) -> set[str]:
        return {dated.rois.camera_id for dated in self.documents if "camera_id" in dated.rois.model_fields_set}

    @property
    def documents(self) -> tuple[Dated, ...]:
        """Every ROI document, in the order of time."""
        first = () if self.rois is None else (Dated(None, "rois", self.rois),)
        return first + tuple(
            Dated(each.from_, f"revisions[{number}].rois", each.rois) for number, each in enumerate(self.revisions)
        )

    def problems(self, name: str) -> list[Problem]:
        """What the shape alone cannot tell."""
        found: list[Problem] = []
        if not self.documents:
            found.append(Problem(name, "no ROI document: write rois, or revisions"))
        if not self.events:
            found.append(Problem(f"{name}: events", "nothing is seen; write a line or more"))
        for dated in self.documents:
            found += [
                Problem(f"{name}: {each.place.replace(': cameras[0]', dated.place, 1)}", each.message)
                for each in Rois(cameras=(dated.rois,)).problems("")
            ]
            if "start" not in self.model_fields_set and any(roi.active for roi in dated.rois.forbidden_rois):
                found.append(Problem(f"{name}: {dated.place}", "a ROI has active times: say when 0s is, in start"))
        if len(self._named) > 1:
            found.append(Problem(f"{name}: revisions", "the documents are not all of one camera_id"))
        times = [-1 if dated.from_ is None else dated.from_ for dated in self.documents]
        if times != sorted(set(times)):
            found.append(Problem(f"{name}: revisions", "each must begin later than the one before"))
        if sum(len(line.at) for line in self.events) > MOST_EVENTS:
            found.append(Problem(f"{name}: events", f"more than {MOST_EVENTS} events"))
        subjects = {
            f"{label} in {roi.name}"
            for dated in self.documents
            for roi in dated.rois.forbidden_rois
            for label in dated.rois.alert_classes
        }
        found += [
            Problem(f"{name}: expect[{number}]", f"there is no {line.subject!r}; {_known(subjects)}")
            for number, line in enumerate(self.expect)
            if line.subject not in subjects
        ]
        return found

    @classmethod
    def read(cls, written: Any, name: str) -> Self:
        """Plain values as a scenario; raises `BadDocument` with every mistake."""
        scenario = read_document(cls, written, name)
        problems = scenario.problems(name)
        if problems:
            raise BadDocument(problems)
        return scenario


def _known(subjects: set[str]) -> str:
    return f"the documents have: {', '.join(sorted(subjects)) or 'no ROI with a label'}; facts are: {FACTS}"

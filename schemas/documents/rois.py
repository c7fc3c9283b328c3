"""`rois.yaml`: the polygons people draw, and what must not be seen in them."""

from typing import Annotated, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from shapely.geometry import Polygon
from shapely.validation import explain_validity

from schemas.documents.cameras import CameraId
from schemas.documents.reading import Document
from schemas.effective import ActiveRange, Anchor, AnchorPoint, CameraRules, RoiRules
from schemas.messages import Severity
from schemas.problems import Problem

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
Label = Annotated[str, StringConstraints(min_length=1, max_length=100)]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]

MAX_WITHIN_SECONDS = 300
"""The longest `confirm.within_seconds`: the engine remembers hits for as long, whatever the document says today, so
that a longer `within_seconds` tomorrow still finds them."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; expected a name like Europe/Madrid") from None
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class Confirm(Document):
    """How many events with a hit, within how long, begin an episode."""

    hits: int = Field(default=3, ge=1, le=1000)
    within_seconds: float = Field(default=2.0, ge=0, le=MAX_WITHIN_SECONDS)


class Overlap(Document):
    """The fraction of the box's area that must lie in the polygon."""

    overlap: float = Field(gt=0, le=1)


AnchorWritten = AnchorPoint | Overlap


class Active(Document):
    """Wall-clock times of a zone. A range that passes midnight belongs to the day it begins on."""

    days: tuple[Day, ...] = Field(default=DAYS, min_length=1)
    from_: ClockTime = Field(default="00:00", alias="from")
    to: ClockTime = "24:00"
    timezone: TimeZone

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if self.from_ == self.to:
            raise ValueError(f"from and to are both {self.to}; for the whole day leave both out")
        return self


class ForbiddenRoi(Document):
    """A polygon in which no label of `alert_classes` may be.

    Everything after ``points`` is optional. ``anchors`` gives single labels an anchor of their own.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[^|/\s\x00-\x1f][^|/\x00-\x1f]{0,99}$")]
    points: tuple[tuple[float, float], ...]
    units: Literal["pixels", "fractions"] = "pixels"
    reference_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = Field(
        default=None, description="width and height that pixels are meant in; default: the camera's picture"
    )
    anchor: AnchorWritten = Field(default="bottom_center", description="which point of a box must lie in the polygon")
    anchors: dict[Label, AnchorWritten] = Field(default_factory=dict)
    min_confidence: float | None = Field(
        default=None, ge=0, le=1, description="default: rules.min_confidence of services.yaml"
    )
    confirm: Confirm = Confirm()
    resolve_after_seconds: float = Field(default=5.0, gt=0, le=3600, description="without a hit for as long: resolved")
    debounce_window_seconds: float | None = Field(
        default=None,
        ge=0,
        le=7 * 24 * 3600,
        description="from one alert's opening to the next; default: rules.debounce_window_seconds of services.yaml",
    )
    severity: Severity = "warning"
    active: tuple[Active, ...] | Active | None = Field(default=None, description="default: always")

    def polygon_problems(self) -> list[str]:
        """What is wrong with the polygon, in words; empty when it is sound."""
        if len(self.points) < 3:
            return [f"a polygon has three points or more, not {len(self.points)}"]
        found: list[str] = []
        if self.units == "fractions":
            if self.reference_size is not None:
                found.append("reference_size is for units: pixels")
            if any(not (0 <= x <= 1 and 0 <= y <= 1) for x, y in self.points):
                found.append("units: fractions needs every point within 0 to 1")
        else:
            if all(0 <= x <= 1 and 0 <= y <= 1 for x, y in self.points):
                found.append("every point lies within 0 to 1 while units is pixels; did you mean units: fractions?")
            if any(x < 0 or y < 0 for x, y in self.points):
                found.append("a point lies left of or above the picture")
            if self.reference_size is not None:
                width, height = self.reference_size
                if any(x > width or y > height for x, y in self.points):
                    found.append(f"a point lies outside reference_size {width} x {height}")
        polygon = Polygon(self.points)
        if not polygon.is_valid:
            found.append(f"the polygon crosses or touches itself ({explain_validity(polygon)})")
        elif polygon.area == 0:
            found.append("the polygon has no area")
        return found


class CameraRois(Document):
    """The ROIs of one camera. ``allowed_classes`` are never hits; a label in neither list is counted, not judged."""

    camera_id: CameraId
    forbidden_rois: tuple[ForbiddenRoi, ...] = ()
    allowed_classes: tuple[Label, ...] = ()
    alert_classes: tuple[Label, ...] = ()


class Rois(Document):
    """The whole of `rois.yaml`."""

    cameras: tuple[CameraRois, ...] = ()

    def problems(self, name: str = "rois.yaml") -> list[Problem]:
        """What the shape alone cannot tell: polygons, names given twice, labels in both lists."""
        found: list[Problem] = []
        cameras: set[str] = set()
        for number, camera in enumerate(self.cameras):
            place = f"{name}: cameras[{number}]"
            if camera.camera_id in cameras:
                found.append(Problem(f"{place}.camera_id", f"{camera.camera_id} is given twice"))
            cameras.add(camera.camera_id)
            for label in camera.alert_classes:
                if label in camera.allowed_classes:
                    found.append(Problem(f"{place}.alert_classes", f"{label!r} is in allowed_classes too"))
            if len(set(camera.alert_classes)) < len(camera.alert_classes):
                found.append(Problem(f"{place}.alert_classes", "a label is given twice"))
            names: set[str] = set()
            for index, roi in enumerate(camera.forbidden_rois):
                at = f"{place}.forbidden_rois[{index}]"
                if roi.name in names:
                    found.append(Problem(f"{at}.name", f"{roi.name!r} is given twice"))
                names.add(roi.name)
                found += [Problem(f"{at}.points", message) for message in roi.polygon_problems()]
                found += [
                    Problem(f"{at}.anchors.{label}", "is not in alert_classes")
                    for label in roi.anchors
                    if label not in camera.alert_classes
                ]
        return found


class RoiDefaults(Document):
    """What `rois.yaml` leaves open and `services.yaml` or the environment fills in."""

    min_confidence: float = 0.25
    debounce_window_seconds: float = 30.0


def effective_rules(camera: CameraRois, defaults: RoiDefaults) -> CameraRules:
    """The camera's entry with every default filled in, durations in milliseconds.

    What does not change the meaning is left out of the result (order of `allowed_classes`, anchors that equal the
    default), so that the revision changes only when the meaning does.
    """
    return CameraRules(
        camera_id=camera.camera_id,
        rois=tuple(_effective_roi(roi, camera.alert_classes, defaults) for roi in camera.forbidden_rois),
        allowed_classes=tuple(sorted(set(camera.allowed_classes))),
        alert_classes=camera.alert_classes,
    )


def _effective_roi(roi: ForbiddenRoi, labels: tuple[str, ...], defaults: RoiDefaults) -> RoiRules:
    debounce = roi.debounce_window_seconds
    return RoiRules(
        name=roi.name,
        points=roi.points,
        units=roi.units,
        reference_size=roi.reference_size,
        anchors={label: _anchor(roi.anchors.get(label, roi.anchor)) for label in labels},
        min_confidence=defaults.min_confidence if roi.min_confidence is None else roi.min_confidence,
        confirm_hits=roi.confirm.hits,
        confirm_within_ms=round(roi.confirm.within_seconds * 1000),
        resolve_after_ms=round(roi.resolve_after_seconds * 1000),
        debounce_window_ms=round((defaults.debounce_window_seconds if debounce is None else debounce) * 1000),
        severity=roi.severity,
        active=_active(roi.active),
    )


def _anchor(written: AnchorWritten) -> Anchor:
    return written.overlap if isinstance(written, Overlap) else written


def _active(written: tuple[Active, ...] | Active | None) -> tuple[ActiveRange, ...] | None:
    if written is None:
        return None
    ranges = (written,) if isinstance(written, Active) else written
    return tuple(map(active_range, ranges))


def active_range(written: Active) -> ActiveRange:
    """The range in minutes and weekday numbers."""
    return ActiveRange(
        days=tuple(sorted({DAYS.index(day) for day in written.days})),
        start_minute=_minute(written.from_),
        end_minute=_minute(written.to),
        timezone=written.timezone,
    )


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)

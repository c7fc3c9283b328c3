"""A scenario through the engine: what happened beside what was expected, in the scenario's own times. Pure."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Final

from msgspec import Struct

from rules.engine import Document, compile_rules, step
from rules.state import NEW_CAMERA
from schemas.documents.rois import RoiDefaults, effective_rules
from schemas.documents.scenario_lines import time_in_words
from schemas.documents.scenarios import ExpectLine, Scenario
from schemas.effective import RoiRevision, revision_of
from schemas.messages import Alert, Detection, DetectionEvent, FrameRef, Model

MODEL: Final = Model("scenario", "1", "0" * 64)
DEFAULTS: Final = RoiDefaults()
"""A scenario means the same on every machine: `services.yaml` and the environment do not change it."""

_FACT_WORDS: Final = {
    "reason": "{}",
    "severity": "severity {}",
    "hits": "hits {}",
    "suppressed": "suppressed {}",
    "first_hit": "first hit {}",
    "last_hit": "last hit {}",
    "confidence": "confidence {}",
    "revision": "opened by revision {}",
}


class Row(Struct, frozen=True):
    """One line of a comparison: what was expected beside what happened, "" where nothing was."""

    expected: str
    happened: str
    agrees: bool


class Played(Struct, frozen=True):
    """What came of a scenario: the engine's alerts, and the comparison (of alerts, then of what is counted)."""

    alerts: tuple[Alert, ...]
    rows: tuple[Row, ...]

    @property
    def as_expected(self) -> bool:
        """Whether everything is."""
        return all(row.agrees for row in self.rows)


def begins_at(scenario: Scenario) -> int:
    """The instant of `0s`, milliseconds UTC."""
    return round(scenario.start.timestamp() * 1000)


def events_of(scenario: Scenario) -> Iterator[DetectionEvent]:
    """The events in the order written."""
    start = begins_at(scenario)
    width, height = scenario.picture
    dated = ((at, line) for line in scenario.events for at in line.at)
    for seq, (at, line) in enumerate(dated):
        away = line.skipped == "offline"
        yield DetectionEvent(
            camera_id=scenario.camera_id,
            captured_at=start + at,
            seq=seq,
            frame=FrameRef("frames", 0, seq),
            width=0 if away else width,
            height=0 if away else height,
            floor=0.0,
            model=MODEL,
            detections=tuple(Detection(*each) for each in line.seen),
            skipped=line.skipped,
        )


def revisions_of(scenario: Scenario) -> tuple[RoiRevision, ...]:
    """The ROI documents as the rules app would follow them."""
    start = begins_at(scenario)
    made = []
    for dated in scenario.documents:
        rules = effective_rules(dated.rois.model_copy(update={"camera_id": scenario.camera_id}), DEFAULTS)
        begin = 0 if dated.from_ is None else start + dated.from_
        made.append(RoiRevision(rules.camera_id, revision_of(rules), begin, 0, "file", rules))
    return tuple(made)


def play(scenario: Scenario) -> Played:
    """Judges the scenario's events and holds the alerts against those that it expects, in order."""
    revisions = revisions_of(scenario)
    compiled = [compile_rules(each.document, each.revision, each.effective_from) for each in revisions]
    state = NEW_CAMERA
    alerts: list[Alert] = []
    counted = {"late": 0, "unlisted": 0, "out_of_bounds": 0}
    for event in events_of(scenario):
        judged = step(_applying(compiled, event.captured_at), state, event)
        state = judged.state
        alerts += judged.alerts
        counted["late"] += judged.late
        counted["unlisted"] += len(judged.unlisted)
        counted["out_of_bounds"] += len(judged.out_of_bounds)
    ordinals = {each.revision: str(number) for number, each in reversed(list(enumerate(revisions, 1)))}
    rows = _compared(scenario.expect, alerts, begins_at(scenario), ordinals)
    asked = scenario.counted.model_dump(exclude_none=True)
    rows += [
        Row(f"{name}: {count}", f"{name}: {counted[name]}", agrees=count == counted[name])
        for name, count in asked.items()
    ]
    return Played(tuple(alerts), tuple(rows))


def side_by_side(rows: tuple[Row, ...]) -> list[str]:
    """The rows as lines, those that differ marked with ≠."""
    titled = (Row("expected", "happened", agrees=True), *rows)
    wide = max(len(row.expected) for row in titled)
    return [f"{' ' if row.agrees else '≠'} {row.expected:<{wide}}  {row.happened}".rstrip() for row in titled]


def _applying(compiled: list[Document], at: int) -> Document | None:
    return next((each for each in reversed(compiled) if each.effective_from <= at), None)


def _compared(expect: tuple[ExpectLine, ...], alerts: list[Alert], start: int, ordinals: dict[str, str]) -> list[Row]:
    wanted = [(line.at, line.phase, line.subject) for line in expect]
    got = [(_instant(alert) - start, alert.phase, f"{alert.label} in {alert.roi}") for alert in alerts]
    rows: list[Row] = []
    for kind, *(i, j, k, m) in SequenceMatcher(None, wanted, got, autojunk=False).get_opcodes():
        for left, right in zip_longest(range(i, j), range(k, m)):
            asked = {} if left is None else expect[left].facts
            facts = {} if right is None else _facts(alerts[right], start, ordinals)
            # Beside a line: what it asks, and why a thing ended. Alone: more, since nobody asked.
            shown = {"reason", "hits", "first_hit", "suppressed"} if left is None else {"reason", *asked}
            rows.append(
                Row(
                    "" if left is None else _line(*wanted[left], asked),
                    "" if right is None else _line(*got[right], {name: facts[name] for name in facts if name in shown}),
                    agrees=kind == "equal" and all(facts[name] == value for name, value in asked.items()),
                )
            )
    return rows


def _instant(alert: Alert) -> int:
    return alert.opened_at if alert.resolved_at is None else alert.resolved_at


def _facts(alert: Alert, start: int, ordinals: dict[str, str]) -> dict[str, str]:
    facts = {
        "severity": str(alert.severity),
        "hits": str(alert.hits),
        "suppressed": str(alert.suppressed),
        "first_hit": time_in_words(alert.first_hit_at - start),
        "last_hit": time_in_words(alert.last_hit_at - start),
        "confidence": f"{alert.evidence.confidence:g}",
        "revision": ordinals[alert.roi_revision],
    }
    return facts if alert.reason is None else {"reason": alert.reason, **facts}


def _line(at: int, phase: str, subject: str, facts: dict[str, str]) -> str:
    said = [words.format(facts[name]) for name, words in _FACT_WORDS.items() if name in facts]
    return ", ".join((f"{time_in_words(at)}: {phase} {subject}", *said))

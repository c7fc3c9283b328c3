"""Alerts about Backsight itself: what was seen of the installation in, alerts out. Pure.

They are `Alert`s as any other, so that they take the same ways: ``camera_id`` is what it is about, ``roi`` says what
kind of thing that is (`router.routing.SYSTEM` begins it; no drawn ROI may have a slash in its name), ``label`` is what
is the matter. Time comes in as milliseconds UTC.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct, structs

from router.routing import SYSTEM
from schemas.documents.routes import SystemAlerts, Watchdog
from schemas.messages import Alert, Evidence, FrameRef, Model, Severity, alert_id

WATCHDOG: Final = "watchdog"
WATCHDOG_LATE_MS: Final = 600_000
"""A router that was away at the hour tells the watchdog after all if it is back within as long."""
OURSELVES: Final = Model("backsight", "1", "")
NOWHERE: Final = FrameRef("", 0, 0)
MOST_SAMPLES: Final = 1000


class CameraFact(Struct, frozen=True):
    """What is known of a camera. Instants are when its events came to us.

    ``seen_at``: the last event that had a picture; ``offline_since``: the first of the offline ticks since then.
    ``expected``: it should never fall silent, since its source does not end. ``frame``: of its last event.
    ``frozen_since``: it gives one picture over and over.
    """

    site: str
    seen_at: int | None = None
    offline_since: int | None = None
    expected: bool = False
    frame: FrameRef = NOWHERE
    frozen_since: int | None = None


class Facts(Struct, frozen=True):
    """What is known of an installation at one moment, by an observer that ``began_at``.

    ``ages``: milliseconds for which the oldest record waits that a stage has not done. ``dead_letters``: how many were
    put there within the last minute. ``breakers``: sinks that are left alone. ``refused``: documents as written do not
    hold.
    """

    began_at: int
    cameras: Mapping[str, CameraFact] = {}
    ages: Mapping[str, int] = {}
    dead_letters: int = 0
    breakers: frozenset[str] = frozenset()
    refused: bool = False


class Key(NamedTuple):
    """What is the matter with what: at most one alert of each is open."""

    about: str
    subject: str
    label: str


class Condition(NamedTuple):
    """Something is the matter, since when, and which frame shows it."""

    severity: Severity
    since: int
    frame: FrameRef = NOWHERE


def conditions(facts: Facts, limits: SystemAlerts, opened: Iterable[Key], now: int) -> dict[Key, Condition]:
    """Everything that is the matter. What is ``opened`` already stays the matter down to a lower limit."""
    known = frozenset(opened)
    found = _cameras(facts, limits, known, now)
    for stage, age in facts.ages.items():
        key = Key("stage", stage, "lag")
        limit = limits.lag_seconds * 1000
        if age >= (limit / 2 if key in known else limit):
            found[key] = Condition("critical", now - age)
    letters = Key("topic", "dead-letters", "dead_letters_growing")
    most = limits.dead_letters_per_minute
    if facts.dead_letters > (most / 2 if letters in known else most):
        found[letters] = Condition("warning", now)
    for sink in facts.breakers:
        found[Key("sink", sink, "breaker_open")] = Condition("warning", now)
    if facts.refused:
        found[Key("router", "routes.yaml", "reload_refused")] = Condition("warning", now)
    return found


def _cameras(facts: Facts, limits: SystemAlerts, known: frozenset[Key], now: int) -> dict[Key, Condition]:
    """Cameras that are away or frozen, or their whole site: while that is down its cameras are held."""
    limit = limits.camera_offline_seconds * 1000
    away = {camera: since for camera in facts.cameras if (since := _away_since(camera, facts, limit, known, now))}
    sites: dict[str, list[str]] = {}
    for camera, fact in facts.cameras.items():
        sites.setdefault(fact.site, []).append(camera)
    found: dict[Key, Condition] = {}
    for site, cameras in sites.items():
        gone = [away[camera] for camera in cameras if camera in away]
        of_site = Key("site", site, "site_offline")
        longest = min(gone, default=now)
        down = len(gone) == len(cameras) > 1 and (now - longest >= limit or of_site in known)
        if down:
            found[of_site] = Condition("critical", longest)
        for camera in cameras:
            held = down or of_site in known
            fact = facts.cameras[camera]
            offline, frozen = (Key("camera", camera, label) for label in ("camera_offline", "camera_frozen"))
            if camera in away and (offline in known or (not held and now - away[camera] >= limit)):
                found[offline] = Condition("warning", away[camera], fact.frame)
            if fact.frozen_since is not None and (frozen in known or not held):
                found[frozen] = Condition("warning", fact.frozen_since, fact.frame)
    return found


def _away_since(camera: str, facts: Facts, limit: float, known: frozenset[Key], now: int) -> int | None:
    fact = facts.cameras[camera]
    if fact.offline_since is not None:
        return fact.offline_since
    if fact.seen_at is None and Key("camera", camera, "camera_offline") in known:
        return facts.began_at  # it was away before our time, and nothing has said otherwise
    # Events pass through inference: where that is behind, a silent camera tells nothing of the camera.
    if fact.expected and facts.ages.get("inference", 0) < limit / 2:
        last = facts.began_at if fact.seen_at is None else fact.seen_at
        return last if now - last >= limit / 2 else None
    return None


class SystemWatch:
    """Which system alerts are open, and what opens and resolves. ``opened``: those open from before."""

    def __init__(self, opened: Iterable[Alert] = ()) -> None:
        self._open = {Key(each.roi.removeprefix(SYSTEM), each.camera_id, each.label): each for each in opened}
        self._held_at: dict[Key, int] = {}

    def look(self, facts: Facts, limits: SystemAlerts, now: int) -> list[Alert]:
        """The phases that follow from ``facts``. One resolves when nothing was the matter for `steady_seconds`."""
        found = conditions(facts, limits, self._open, now)
        phases: list[Alert] = []
        for key, condition in found.items():
            self._held_at[key] = now
            if key not in self._open:
                self._open[key] = opened_alert(key, condition, now)
                phases.append(self._open[key])
        for key, alert in list(self._open.items()):
            held_at = self._held_at.setdefault(key, now)
            if key not in found and now - held_at >= limits.steady_seconds * 1000:
                del self._open[key], self._held_at[key]
                phases.append(resolved_alert(alert, held_at, now))
        return phases


def opened_alert(key: Key, condition: Condition, now: int) -> Alert:
    """The alert as it opens. Nothing was measured in a picture: the box is all of it, the confidence 1."""
    roi = SYSTEM + key.about
    return Alert(
        alert_id=alert_id(key.subject, roi, key.label, None, "", now),
        seq=0,
        phase="opened",
        camera_id=key.subject,
        roi=roi,
        label=key.label,
        track_id=None,
        severity=condition.severity,
        first_hit_at=condition.since,
        opened_at=now,
        last_hit_at=now,
        resolved_at=None,
        reason=None,
        hits=1,
        suppressed=0,
        evidence=Evidence(condition.frame, (0.0, 0.0, 1.0, 1.0), 1.0, condition.since),
        model=OURSELVES,
        roi_revision="",
    )


def resolved_alert(alert: Alert, last_hit_at: int, now: int) -> Alert:
    """The same alert as it resolves."""
    return structs.replace(
        alert, seq=1, phase="resolved", last_hit_at=max(alert.last_hit_at, last_hit_at), resolved_at=now, reason="quiet"
    )


def watchdog(document: Watchdog, last: int | None, now: int) -> tuple[Alert, Alert] | None:
    """Both phases of today's watchdog where it is due; ``last``: when the one before opened.

    Its instant is the hour of the document, so that two that tell it tell the same alert.
    """
    zone = ZoneInfo(document.timezone)
    today = datetime.fromtimestamp(now / 1000, zone)
    hour, minute = map(int, document.at.split(":"))
    for day in (today, today - timedelta(days=1)):
        at = round(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp() * 1000)
        if at <= now:
            if now - at > WATCHDOG_LATE_MS or (last is not None and last >= at):
                return None
            alert = opened_alert(Key("router", "backsight", WATCHDOG), Condition("info", at), at)
            return alert, resolved_alert(alert, at, at)
    return None


class Backlog:
    """For how long the oldest record waits that a group has not done, as far back as it was watched."""

    def __init__(self) -> None:
        self._ends: dict[int, deque[tuple[int, int]]] = {}

    def look(self, ends: Mapping[int, int], done: Mapping[int, int], now: int) -> int:
        """Milliseconds. ``ends`` and ``done`` are offsets by partition; one that was never committed is not judged."""
        age = 0
        for partition, position in done.items():
            seen = self._ends.setdefault(partition, deque())
            end = ends[partition]
            if not seen or end > seen[-1][1]:
                if len(seen) >= MOST_SAMPLES:
                    seen.pop()
                seen.append((now, end))
            while seen and seen[0][1] <= position:
                seen.popleft()
            if seen:
                age = max(age, now - seen[0][0])
        return age


class Growth:
    """By how much a count grew within the last while."""

    def __init__(self, within_ms: int) -> None:
        self._within = within_ms
        self._seen: deque[tuple[int, int]] = deque()

    def look(self, count: int, now: int) -> int:
        """The growth up to ``now``; nothing before the first look counts."""
        self._seen.append((now, count))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._within:
            self._seen.popleft()
        return max(0, count - self._seen[0][1])

"""A plant on a time line: the router's own routes, plans, lanes, retries and breakers, in a time that jumps.

Documents are read by the router's own loader; only Kafka and the wire are left out. An hour takes a moment, since the
event loop's clock goes on to the next thing that is due instead of waiting for it.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from router.breaker import BreakerPolicy
from router.configuration import load_router
from router.lanes import Ended, Lanes
from router.planning import Plan, Planner
from router.retry import ACCEPTED, Answer, RetryPolicy
from router.routing import Leg, Terms
from router.silencing import Silenced
from router.sinks import Notice, Sink
from router.stage import Router
from router.system import CameraFact, Facts, SystemWatch, watchdog
from router.watched import Watched
from runtime.health import Health
from runtime.lifecycle import Stop
from runtime.settings import Settings
from schemas.codec import encode
from schemas.messages import Alert, Severity
from tests.support.alerts import opened, resolved

ZONE = ZoneInfo("Europe/Madrid")
LOOK_SECONDS = 2


class Told(NamedTuple):
    """What reached somebody: when (`HH:MM:SS`, a day later `+1 HH:MM:SS`), whom, and what of which cameras."""

    at: str
    sink: str
    what: str
    cameras: tuple[str, ...]


class _Jumping(selectors.SelectSelector):
    """Never waits: whoever would have, finds the time gone by."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


class _Receiver:
    """In a sink's place: answers as the story has it, and notes what it took."""

    def __init__(self, plant: Plant, sink: Sink) -> None:
        self._plant = plant
        self.name, self.actuates = sink.name, sink.actuates
        self.deadline_seconds, self.max_age_seconds, self.lanes = (
            sink.deadline_seconds,
            sink.max_age_seconds,
            sink.lanes,
        )

    async def deliver(self, notice: Notice) -> Answer:
        self._plant.attempts[self.name] = self._plant.attempts.get(self.name, 0) + 1
        answer = self._plant.answers.get(self.name, ACCEPTED)
        if answer.verdict == "done":
            cameras = tuple(member.alert.camera_id for member in notice.members)
            of_system = notice.alert.label if notice.alert.roi.startswith("system/") else ""
            what = f"{of_system} {notice.kind.removeprefix('alert.').removeprefix('alerts.')}".strip()
            self._plant.told.append(Told(self._plant.clock_text(), self.name, what, cameras))
        return answer


class _Stage:
    """A sink's stage without Kafka."""

    def __init__(self, plant: Plant, sink: Sink) -> None:
        self._plant, self._name = plant, sink.name
        self._planner = Planner(lambda notice, now: plant.router.silenced(notice, now))
        age = sink.max_age_seconds
        self._lanes = Lanes(
            _Receiver(plant, sink),  # type: ignore[arg-type]
            RetryPolicy(max_age_ms=None if age is None else round(age * 1000)),
            ended=self._ended,
            gone=lambda gone: plant.fail(gone),
            clock=plant.clock,
            dice=lambda: 0.5,
            concurrency=sink.lanes,
            breaker=BreakerPolicy(),
        )
        self._taken: set[str] = set()
        self._heard: set[str] = set()

    def take(self, alert: Alert) -> None:
        notice = Notice(alert, encode(alert), self._plant.router.site(alert))
        leg = self._plant.router.leg(self._name, notice)
        if alert.phase == "resolved":  # as `router.telling` has it
            if alert.alert_id not in self._taken:
                leg = None
            elif leg is None and alert.alert_id in self._heard:
                leg = Leg(self._name, "route", Terms())
        if leg is not None:
            self._taken.add(alert.alert_id)
            self._follow(self._planner.take(notice, leg, self._plant.clock()))

    def due(self) -> None:
        self._follow(self._planner.due(self._plant.clock()))

    async def stop(self) -> None:
        await self._lanes.withdraw()

    def _ended(self, ended: Ended) -> None:
        if ended.end.outcome == "delivered":
            self._heard |= {member.alert.alert_id for member in ended.notice.members}
        else:
            self._plant.lost.append((self._name, ended.notice.alert.camera_id, ended.end.outcome))
        leg = self._plant.router.leg(self._name, ended.notice)
        self._follow(self._planner.ended(ended.notice, leg, self._plant.clock()))

    def _follow(self, plan: Plan) -> None:
        for notice in plan.tell:
            self._lanes.offer(notice)


class Plant:
    """What happens, by the clock of Madrid on 23 November 2026, and who is told.

    ``sites``: each site's cameras. Everything is planned first; `until` lets it happen.
    """

    def __init__(self, folder: Path, routes: str, sites: Mapping[str, Iterable[str]]) -> None:
        self._folder = folder
        cameras = [(camera, site) for site, names in sites.items() for camera in names]
        entries = ", ".join(f"{{id: {camera}, url: 'rtsp://{camera}/1', site: {site}}}" for camera, site in cameras)
        (folder / "cameras.yaml").write_text(f"cameras: [{entries}]\n")
        (folder / "routes.yaml").write_text(routes)
        self._settings = Settings(configs=folder)
        self._silences: list[Silenced] = []
        self._facts = Facts(began_at=0, cameras={camera: CameraFact(site, 0) for camera, site in cameras})
        self._script: list[tuple[float, int, Callable[[], None]]] = []
        self._open: dict[str, Alert] = {}
        self._watch = SystemWatch()
        self._last_watchdog: int | None = None
        self._observed = True
        self._stages: dict[str, _Stage] = {}
        self._loop = _Loop()
        self._start = 0
        self._failed: BaseException | None = None
        self.answers: dict[str, Answer] = {}
        self.attempts: dict[str, int] = {}
        self.told: list[Told] = []
        self.lost: list[tuple[str, str, str]] = []
        self.router = self._configured()

    # What happens

    def at(self, when: str, does: Callable[[], None]) -> None:
        """Something happens then, `HH:MM` or `HH:MM:SS`, on the next day `+1 HH:MM`."""
        heapq.heappush(self._script, (instant(when) / 1000, len(self._script), does))

    def intruder(self, when: str, camera: str, *, leaves: str | None = None, severity: Severity = "warning") -> None:
        """An alert opens, and resolves when it leaves."""
        alert = replace(opened(camera=camera, at=instant(when)), severity=severity)
        self.at(when, lambda: self._alert(alert))
        if leaves is not None:
            self.at(leaves, lambda: self._alert(resolved(alert, after_ms=instant(leaves) - alert.opened_at)))

    def answers_with(self, when: str, sink: str, answer: Answer) -> None:
        """From then on a receiver answers so."""
        self.at(when, lambda: self.answers.__setitem__(sink, answer))

    def silence(self, silenced: Silenced) -> None:
        """A silence is made; it says itself from when to when it holds."""
        self._silences.append(silenced)

    def cameras_are(self, when: str, cameras: Iterable[str], *, offline: bool = False, frozen: bool = False) -> None:
        """From then on these cameras are away, or frozen, or well."""

        def become() -> None:
            now = self.clock()
            changed = {
                camera: replace(
                    self._facts.cameras[camera],
                    seen_at=now,
                    offline_since=now if offline else None,
                    frozen_since=now if frozen else None,
                )
                for camera in cameras
            }
            self._facts = replace(self._facts, cameras={**self._facts.cameras, **changed})

        self.at(when, become)

    def nobody_observes(self, begin: str, end: str) -> None:
        """The router is away in between."""
        self.at(begin, lambda: setattr(self, "_observed", False))
        self.at(end, lambda: setattr(self, "_observed", True))

    def reload(self, when: str, routes: str) -> None:
        """`routes.yaml` is written anew and taken up."""

        def take_up() -> None:
            (self._folder / "routes.yaml").write_text(routes)
            self.router.configuration = load_router(self._settings, {}, self.router.configuration)

        self.at(when, take_up)

    # And then

    def until(self, end: str, *, step: int = 1) -> Plant:
        """Lets everything happen up to then; plans are looked at every ``step`` seconds."""
        self._start = round(min(self._script)[0] * 1000) - 1000
        self._facts = replace(self._facts, began_at=self._start)
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._happens(instant(end), step))
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()
        assert self._failed is None
        return self

    def exactly(self, *expected: tuple[str, str, str, str, str]) -> None:
        """Everybody was told this, each within its window (from, to, sink, what, cameras), and nothing more."""
        left = list(self.told)
        for begin, end, sink, what, cameras in expected:
            wanted = (sink, what, tuple(cameras.split()))
            found = [
                each for each in left if each[1:] == wanted and _seconds(begin) <= _seconds(each.at) <= _seconds(end)
            ]
            assert found, f"between {begin} and {end} {sink} was not told {what} of {cameras}; left: {left}"
            left.remove(found[0])
        assert left == [], f"nobody should have been told: {left}"

    def clock(self) -> int:
        """Milliseconds UTC."""
        return self._start + round(self._loop.time() * 1000)

    def clock_text(self) -> str:
        """The clock on the wall."""
        now = datetime.fromtimestamp(self.clock() / 1000, ZONE)
        return f"+{now.day - 23} {now:%H:%M:%S}" if now.day > 23 else f"{now:%H:%M:%S}"

    def fail(self, error: BaseException) -> None:
        """The story cannot go on."""
        self._failed = error

    def holds(self, labels: Mapping[str, str], now: int) -> bool:
        """Whether a silence holds, as `router.silencing.SilenceFollower` says it."""
        return any(each.holds(labels, now) for each in self._silences)

    async def _happens(self, end: int, step: int) -> None:
        self._stages = {sink.name: _Stage(self, sink) for sink in self.router.configuration.sinks}
        looked = 0
        while self.clock() < end:
            while self._script and self._script[0][0] * 1000 <= self.clock():
                heapq.heappop(self._script)[2]()
            looked += step
            if self._observed and (step > 1 or looked % LOOK_SECONDS == 0):
                self._observe()
            for stage in self._stages.values():
                stage.due()
            await asyncio.sleep(step)
        for stage in self._stages.values():
            await stage.stop()

    def _observe(self) -> None:
        limits, now = self.router.configuration.system, self.clock()
        if limits is None:
            return
        phases = self._watch.look(self._facts, limits, now)
        told = watchdog(limits.watchdog, self._last_watchdog, now) if limits.watchdog is not None else None
        if told is not None:
            self._last_watchdog = told[0].opened_at
            phases += told
        for alert in phases:
            self._alert(alert)

    def _alert(self, alert: Alert) -> None:
        for stage in self._stages.values():
            stage.take(alert)

    def _configured(self) -> Router:
        watched = Watched([])
        silences: Any = self
        return Router(self._settings, load_router(self._settings, {}), watched, silences, Health("router"), Stop())


def instant(when: str) -> int:
    """Milliseconds UTC of `HH:MM`, `HH:MM:SS` or `+DAYS HH:MM`."""
    day, _, clock = when.rpartition(" ")
    hour, minute, *second = map(int, clock.split(":"))
    at = datetime(2026, 11, 23 + int(day or 0), hour, minute, *second, tzinfo=ZONE)
    return round(at.timestamp() * 1000)


def _seconds(when: str) -> int:
    return instant(when) // 1000

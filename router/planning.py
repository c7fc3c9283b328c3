"""What one sink is told, and when: alone or in company, again, folded while it floods, or not at all. Pure.

Time comes in as milliseconds UTC. Nothing is forgotten here: a phase that is taken comes out exactly once, in a `Plan`
or as `kept_silent`. The phases of one alert come out in their order; one that would overtake another of its alert
because either is told in company waits until the other has ended (those told alone share a lane, which keeps order).
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from router.routing import Leg, waits
from router.sinks import Notice
from schemas.active import ActiveTimes
from schemas.effective import ActiveRange


class Plan(NamedTuple):
    """What is to be done now: notices to tell, and phases that are not told (their outcome is `silenced`)."""

    tell: list[Notice]
    kept_silent: list[Notice]


class _Group:
    """Phases that wait for company until ``due_at``."""

    def __init__(self, due_at: int, *, summary: bool) -> None:
        self.due_at = due_at
        self.summary = summary
        self.members: list[Notice] = []


class _Open(NamedTuple):
    """An alert that is open: its opening, its way, and when it is told again."""

    notice: Notice
    leg: Leg
    again_at: int


class Planner:
    """One sink's plan. ``silenced`` says whether a silence holds for an alert now; see `take`, `ended` and `due`."""

    def __init__(self, silenced: Callable[[Notice, int], bool] = lambda _notice, _now: False) -> None:
        self._is_silenced = silenced
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._in_group: dict[str, tuple[str, ...]] = {}
        self._under_way: dict[str, list[Notice]] = {}
        self._over: set[str] = set()
        self._behind: dict[str, deque[tuple[Notice, Leg]]] = {}
        self._open: dict[str, _Open] = {}
        self._unheard: dict[str, tuple[Notice, Leg]] = {}
        self._times: dict[tuple[ActiveRange, ...], ActiveTimes] = {}
        self._floods: dict[str, _Floods] = {}

    def take(self, notice: Notice, leg: Leg, now: int) -> Plan:
        """One phase that was read."""
        plan = Plan([], [])
        self._take(notice, leg, now, plan)
        return plan

    def ended(self, notice: Notice, leg: Leg | None, now: int) -> Plan:
        """A notice that was told, or given up, has ended. ``leg`` is None where its way is no longer known."""
        plan = Plan([], [])
        for member in notice.members:
            name = member.alert.alert_id
            self._no_more_under_way(name, notice)
            if member.alert.phase == "opened" and leg is not None and leg.terms.repeat_every_ms is not None:
                if name not in self._over:
                    self._open[name] = _Open(member, leg, _again_at(member, leg.terms.repeat_every_ms, now))
                self._over.discard(name)
            for following, way in self._behind.pop(name, ()):
                self._take(following, way, now, plan)
        return plan

    def due(self, now: int) -> Plan:
        """What time has brought about."""
        plan = Plan([], [])
        for key, group in list(self._groups.items()):
            if group.due_at <= now and not any(each.alert.alert_id in self._under_way for each in group.members):
                del self._groups[key]
                self._release(group, plan)
        for name, (notice, leg) in list(self._unheard.items()):
            if not self._is_muted(notice, leg, now):
                del self._unheard[name]
                self._take(notice, leg, now, plan)
        for name, kept in list(self._open.items()):
            every = kept.leg.terms.repeat_every_ms
            if kept.again_at > now or every is None:
                continue
            self._open[name] = kept._replace(again_at=_again_at(kept.notice, every, now))
            if name not in self._under_way and not self._is_muted(kept.notice, kept.leg, now):
                self._tell(kept.notice.again((now - kept.notice.instant) // every), plan)
        return plan

    def know_open(self, notice: Notice, leg: Leg, now: int, *, silenced: bool) -> None:
        """An alert that was opened before this process began and is open still; ``silenced``: nobody was told."""
        if silenced:
            self._unheard[notice.alert.alert_id] = (notice, leg)
        elif leg.terms.repeat_every_ms is not None:
            again_at = _again_at(notice, leg.terms.repeat_every_ms, now)
            self._open[notice.alert.alert_id] = _Open(notice, leg, again_at)

    def forget(self, concerned: Callable[[Notice], bool]) -> None:
        """Lets go of everything concerned: somebody else has it now. What was under way has been taken back.

        Members of a company that are not concerned are told after all, without the others.
        """
        for notice in {each.delivery_id: each for some in self._under_way.values() for each in some}.values():
            if any(map(concerned, notice.members)):
                for member in notice.members:
                    self._no_more_under_way(member.alert.alert_id, notice)
                left = [member for member in notice.members if not concerned(member)]
                if left:
                    group = self._groups["again", notice.delivery_id] = _Group(0, summary=notice.folded)
                    group.members = left
        for key, group in list(self._groups.items()):
            group.members = [each for each in group.members if not concerned(each)]
            if not group.members:
                del self._groups[key]
        self._in_group = {each.alert.alert_id: key for key, group in self._groups.items() for each in group.members}
        for name, behind in list(self._behind.items()):
            kept = deque(each for each in behind if not concerned(each[0]))
            if kept:
                self._behind[name] = kept
            else:
                del self._behind[name]
        self._open = {name: each for name, each in self._open.items() if not concerned(each.notice)}
        self._unheard = {name: each for name, each in self._unheard.items() if not concerned(each[0])}

    def _take(self, notice: Notice, leg: Leg, now: int, plan: Plan) -> None:
        name = notice.alert.alert_id
        under_way = self._under_way.get(name, ())
        if name in self._behind or any(each.company or each.folded for each in under_way):
            self._behind.setdefault(name, deque()).append((notice, leg))
            return
        if notice.alert.phase == "resolved":
            self._open.pop(name, None)
            if under_way:
                self._over.add(name)
            if self._unheard.pop(name, None) is not None or not leg.terms.send_resolved:
                plan.kept_silent.append(notice)
                return
        elif self._is_muted(notice, leg, now):
            self._unheard[name] = (notice, leg)
            plan.kept_silent.append(notice)
            return
        key, wait, summary = self._company(notice, leg, now)
        if key is None:
            self._tell(notice, plan)
            return
        group = self._groups.setdefault(key, _Group(now + wait, summary=summary))
        group.members.append(notice)
        self._in_group[name] = key

    @property
    def waits(self) -> bool:
        """Whether phases wait for company."""
        return any(key[0] != "again" for key in self._groups)

    def _company(self, notice: Notice, leg: Leg, now: int) -> tuple[tuple[str, ...] | None, int, bool]:
        """The group that the phase waits in (None: none), for how long if it is the first, and whether it is a fold."""
        waiting = self._in_group.get(notice.alert.alert_id)
        if waiting is not None:
            return waiting, 0, False
        if notice.alert.severity == "critical":
            return None, 0, False
        flood = leg.terms.flood
        if flood is not None:
            floods = self._floods.setdefault(leg.route, _Floods())
            within, above, below = round(flood.within_seconds * 1000), flood.above, flood.below
            if floods.holds(notice, now, within, above, below):
                return ("flood", leg.route), round(flood.summary_every_seconds * 1000), True
        wait = waits(leg, notice.alert.severity)
        if not wait:
            return None, 0, False
        return ("group", leg.route, *(notice.labels.get(label, "") for label in leg.terms.group_by)), wait, False

    def _release(self, group: _Group, plan: Plan) -> None:
        for member in group.members:
            self._in_group.pop(member.alert.alert_id, None)
        first, *company = group.members
        self._tell(first if not company and not group.summary else first.with_company(company, group.summary), plan)

    def _tell(self, notice: Notice, plan: Plan) -> None:
        for member in notice.members:
            self._under_way.setdefault(member.alert.alert_id, []).append(notice)
        plan.tell.append(notice)

    def _no_more_under_way(self, name: str, notice: Notice) -> None:
        left = [each for each in self._under_way.get(name, ()) if each.delivery_id != notice.delivery_id]
        if left:
            self._under_way[name] = left
        else:
            self._under_way.pop(name, None)

    def _is_muted(self, notice: Notice, leg: Leg, now: int) -> bool:
        terms = leg.terms
        if terms.active is not None and not self._at(terms.active, now):
            return True
        return bool(terms.mute and self._at(terms.mute, now)) or self._is_silenced(notice, now)

    def _at(self, ranges: tuple[ActiveRange, ...], now: int) -> bool:
        return self._times.setdefault(ranges, ActiveTimes(ranges)).at(now)


class _Floods:
    """When a route's alerts opened lately, and whether it is flooded."""

    def __init__(self) -> None:
        self._opened: deque[int] = deque()
        self._flooded = False

    def holds(self, notice: Notice, now: int, within_ms: int, above: int, below: int) -> bool:
        """Whether the route is flooded, this phase counted."""
        if notice.alert.phase == "opened":
            self._opened.append(now)
        while self._opened and self._opened[0] <= now - within_ms:
            self._opened.popleft()
        self._flooded = len(self._opened) >= below if self._flooded else len(self._opened) > above
        return self._flooded


def _again_at(notice: Notice, every_ms: int, now: int) -> int:
    """The next multiple of the interval after the opening: the same whoever asks, so that a restart repeats none.

    An alert may be of an instant ahead of our clock.
    """
    return notice.instant + max(1, (now - notice.instant) // every_ms + 1) * every_ms

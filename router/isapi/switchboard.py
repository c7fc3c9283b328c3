"""Everything of one device that alerts turn on, kept as they want it, and turned off whatever happens to them.

Lives in one event loop. What another process may have left on is turned off before anything is turned on; what is due
to be off is tried until the device takes it, with or without an alert.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from router.isapi.answers import Reply, stays
from router.isapi.client import Device
from router.isapi.discovery import discover, failed
from router.isapi.outputs import Level, Limits, believed, ended, must_be_on, off_at, opened, taken
from router.isapi.profile import Action, Profile
from router.retry import ACCEPTED, Answer
from runtime.logs import get_logger
from runtime.metrics import SINK_OUTPUT_OVERDUE, SINK_OUTPUTS_ON

MOST_PAUSE_SECONDS: Final = 5.0
USELESS_SECONDS: Final = 60.0
"""A device that can do nothing for us, or will not turn off what we never turned on, is asked again after as long."""
UNCLEAR: Final = ("timeout", "broken", "server_error")
"""After these the device may have obeyed or not."""

log = get_logger(__name__)


class Target(NamedTuple):
    """One thing that can be on: an action and its port or track."""

    action: Action
    number: int


class Wiring(Struct, frozen=True):
    """Which thing a camera's alerts turn on. ``action`` None: the best that the device can do."""

    action: Action | None = None
    port: int = 1
    track: int = 101
    ports: Mapping[str, int] = {}
    tracks: Mapping[str, int] = {}

    def target(self, action: Action, camera: str) -> Target:
        """The camera's."""
        if action == "record":
            return Target(action, self.tracks.get(camera, self.track))
        return Target(action, self.ports.get(camera, self.port))

    def targets(self, action: Action) -> set[Target]:
        """All that may ever be turned on."""
        default, others = (self.track, self.tracks) if action == "record" else (self.port, self.ports)
        return {Target(action, number) for number in (default, *others.values())}


def monotonic_ms() -> int:
    """Milliseconds that no clock change moves."""
    return int(time.monotonic() * 1000)


class Switchboard:
    """``name`` is the sink's, for the log and the metrics."""

    def __init__(self, name: str, device: Device, profile: Profile, wiring: Wiring, limits: Limits) -> None:
        self._on = SINK_OUTPUTS_ON.labels(name)
        self._overdue = SINK_OUTPUT_OVERDUE.labels(name)
        self._device = device
        self._profile = profile
        self._wiring = wiring
        self._limits = limits
        self._log = log.bind(sink=name)
        self._actions: tuple[Action, ...] = () if wiring.action is None else (wiring.action,)
        self._proven: set[Action] = set()
        self._hopeless: dict[Target, int] = {}
        self._levels: dict[Target, Level] = {}
        self._one = asyncio.Lock()
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begins to turn off what must be off. Needs the running loop."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def turn_on(self, camera: str, alert_id: str) -> Answer:
        """An alert opens."""
        try:
            async with self._one:
                while True:
                    answer = await self._ready()
                    if answer.verdict != "done":
                        return answer
                    action = self._actions[0]
                    reply = await self._raise(self._wiring.target(action, camera), alert_id)
                    if reply.verdict == "ok":
                        self._proven.add(action)
                    if not self._gives_way(action, reply):
                        return reply.answer
        finally:
            self._changed.set()  # cancelled at the deadline too: the device may have obeyed

    async def turn_off(self, alert_id: str) -> Answer:
        """An alert resolves; what it alone kept on is turned off, when it has been on for long enough."""
        async with self._one:
            held = [target for target, level in self._levels.items() if alert_id in level.alerts]
            for target in held:
                self._levels[target] = ended(self._levels[target], alert_id)
        self._changed.set()
        for target in held:
            end = off_at(self._levels[target], self._limits)
            if not self._levels[target].alerts and end is not None:
                await asyncio.sleep(max(0, end - monotonic_ms()) / 1000)
            async with self._one:
                if must_be_on(self._levels[target], self._limits, monotonic_ms()):
                    continue
                reply = await self._agree(target)
            if reply.answer.verdict != "done":
                return reply.answer
        return ACCEPTED

    async def release(self) -> None:
        """Turns everything off that may be on; what fails is left for the next start."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        async with self._one:
            for target, level in self._levels.items():
                if level.rose_at is not None and level.told is not False:
                    reply = await self._tell(target, on=False)
                    if reply.answer.verdict != "done":
                        self._log.error("left_on", **target._asdict(), reason=reply.answer.detail)
        await self._device.close()

    async def _ready(self) -> Answer:
        """Knows what the device can do, and which of its things are ours."""
        if not self._actions:
            capabilities, replies = await discover(self._device, self._profile)
            failure = failed(self._profile, replies)
            if failure is not None:
                return failure.answer
            if not capabilities.actions:
                return Answer("never", "not_found", "the device has no soft input, no output and records nothing")
            self._actions = capabilities.actions
            self._log.info("device_known", model=capabilities.model, actions=self._actions)
        for target in self._wiring.targets(self._actions[0]):
            self._levels.setdefault(target, Level())
        return ACCEPTED

    def _gives_way(self, action: Action, reply: Reply) -> bool:
        """Whether the next best action takes its place: it was announced and does not work."""
        if reply.verdict not in ("unsupported", "invalid") or len(self._actions) < 2 or action in self._proven:
            return False
        self._actions = self._actions[1:]
        self._levels = {
            target: level for target, level in self._levels.items() if target.action != action or not level.inherited
        }
        self._log.warning("action_does_not_work", action=action, reason=reply.answer.detail, instead=self._actions[0])
        return True

    async def _raise(self, target: Target, alert_id: str) -> Reply:
        if self._levels[target].inherited and target not in self._hopeless:
            reply = await self._agree(target)
            passing = reply.answer.verdict == "later" and not stays(reply.answer)
            if passing or reply.verdict in ("unsupported", "invalid"):
                return reply
        before = self._levels[target]
        self._levels[target] = opened(before, alert_id, monotonic_ms())
        reply = await self._agree(target)
        if reply.answer.verdict != "done" and reply.answer.reason not in UNCLEAR:
            self._levels[target] = before
        return reply

    async def _agree(self, target: Target) -> Reply:
        """Tells the device what must be, unless it was told already."""
        level = self._levels[target]
        on = must_be_on(level, self._limits, monotonic_ms())
        return Reply("ok", ACCEPTED) if level.told is on else await self._tell(target, on=on)

    async def _tell(self, target: Target, *, on: bool) -> Reply:
        before = self._levels[target].told
        # Not known before there is an answer, so that a cancelled request leaves no false belief.
        self._levels[target] = believed(self._levels[target], None)
        reply = await self._device.ask(self._profile.switch(target.action).request(target.number, on))
        if reply.verdict == "ok":
            self._levels[target] = taken(self._levels[target], on)
            self._on.set(sum(level.told is True for level in self._levels.values()))
            self._hopeless.pop(target, None)
            self._log.info("turned_on" if on else "turned_off", **target._asdict())
        elif reply.answer.reason not in UNCLEAR:
            self._levels[target] = believed(self._levels[target], before)
        if reply.verdict == "reboot":
            self._log.warning("device_wants_a_restart", reason=reply.answer.detail)
        if stays(reply.answer) and self._levels[target].inherited:
            self._hopeless[target] = monotonic_ms() + round(USELESS_SECONDS * 1000)
        return reply

    async def _keep(self) -> None:
        """Turns off what is due, again and again until it is taken."""
        pause = 0.0
        while True:
            self._changed.clear()
            try:
                async with self._one:
                    failure = await self._lower_due()
            except Exception:  # a mistake of ours must not leave a siren on
                self._log.exception("cannot_turn_off")
                failure = Answer("later", "fault")
            self._overdue.set(failure is not None)
            if failure is None:
                pause = 0.0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._until_due()):
                        await self._changed.wait()
                continue
            if not pause:
                self._log.warning("cannot_turn_off", reason=failure.detail)
            useless = stays(failure) and not self._levels
            pause = USELESS_SECONDS if useless else min(max(1.0, pause * 2), MOST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _lower_due(self) -> Answer | None:
        """The first failure that another try may mend."""
        failure = None
        answer = await self._ready()
        if answer.verdict != "done":
            failure = answer
        for target, level in list(self._levels.items()):
            now = monotonic_ms()
            if level.told is False or must_be_on(level, self._limits, now) or now < self._hopeless.get(target, 0):
                continue
            reply = await self._agree(target)
            if level.inherited and self._gives_way(target.action, reply):
                return await self._lower_due()
            if stays(reply.answer) and level.inherited:
                self._log.warning("cannot_turn_off", **target._asdict(), reason=reply.answer.detail)
            elif reply.answer.verdict != "done":
                failure = failure or reply.answer
        return failure

    def _until_due(self) -> float | None:
        """Seconds until something must be off, or is asked again; None when nothing is."""
        ends = []
        for target, level in self._levels.items():
            end = self._hopeless.get(target) if level.inherited else off_at(level, self._limits)
            if level.told is not False and end is not None:
                ends.append(end)
        return max(0.0, (min(ends) - monotonic_ms()) / 1000) if ends else None

"""What a device can do, from its own documents. Only reads."""

from typing import Final
from xml.etree.ElementTree import Element

from msgspec import Struct

from router.isapi.answers import Reply, stays, text_at, tree_of
from router.isapi.client import Device
from router.isapi.profile import Action, Profile, Request

MOST_PORTS: Final = 1024


class Capabilities(Struct, frozen=True):
    """What a device says of itself; counts are 0 where it says nothing. ``records``: it has a part for recordings."""

    model: str = ""
    firmware: str = ""
    alarm_inputs: int = 0
    soft_inputs: int = 0
    outputs: int = 0
    records: bool = False

    @property
    def actions(self) -> tuple[Action, ...]:
        """What can be tried, best first. No device announces manual recording, so it is tried where one records."""
        found: list[Action] = []
        if self.soft_inputs:
            found.append("soft_input")
        if self.outputs:
            found.append("output")
        if self.records:
            found.append("record")
        return tuple(found)


def capabilities_of(info: Element | None, said: Element | None, outputs: Element | None = None) -> Capabilities:
    """From `DeviceInfo`, `DeviceCap` and, where a device has no `DeviceCap`, its list of outputs."""
    ports = ("SysCap", "IOCap")
    listed = 0 if outputs is None else sum(1 for each in outputs if each.tag in ("IOOutputPort", "IOOutput"))
    return Capabilities(
        model=_plain(text_at(info, "model")),
        firmware=_plain(text_at(info, "firmwareVersion")),
        alarm_inputs=_count(text_at(said, *ports, "IOInputPortNums")),
        soft_inputs=_count(text_at(said, *ports, "SoftIOInputPortNums")),
        outputs=_count(text_at(said, *ports, "IOOutputPortNums")) or min(listed, MOST_PORTS),
        records=said is not None and any(child.tag == "RacmCap" for child in said),
    )


async def discover(device: Device, profile: Profile) -> tuple[Capabilities, dict[str, Reply]]:
    """The capabilities and every reply by its path. Where a login or the network fails nothing more is asked."""
    replies: dict[str, Reply] = {}
    for path in (profile.capabilities, profile.device_info):
        replies[path] = await device.ask(Request("GET", path))
        if replies[path].verdict in ("login", "unreached"):
            return Capabilities(), replies
    if replies[profile.capabilities].verdict != "ok":
        replies[profile.outputs] = await device.ask(Request("GET", profile.outputs))
    trees = [
        tree_of(replies[path].body) if path in replies and replies[path].verdict == "ok" else None
        for path in (profile.device_info, profile.capabilities, profile.outputs)
    ]
    return capabilities_of(*trees), replies


def failed(profile: Profile, replies: dict[str, Reply]) -> Reply | None:
    """The reply for which the capabilities are not known now but may be later; None where what is known is all."""
    if replies[profile.capabilities].verdict == "ok":
        return None
    failures = [each for each in replies.values() if each.verdict != "ok"]
    return next((each for each in failures if each.verdict == "login" or not stays(each.answer)), None)


def _count(text: str) -> int:
    return min(int(text[:6]), MOST_PORTS) if text.isascii() and text.isdigit() else 0


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:80]

"""What goes over the wire, as data: nothing of it was tried on every model, so every word can be replaced.

A template may hold ``{number}`` (of the port or track) and ``{state}`` (``on`` or ``off`` in the device's word).
"""

import re
from typing import Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from schemas.documents.reading import Document

Action = Literal["soft_input", "output", "record"]
ACTIONS: tuple[Action, ...] = ("soft_input", "output", "record")
"""Best first: a soft input is linked to recording, presets and outputs in the device's own pages."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]*)\}")


class Request(NamedTuple):
    """One HTTP request to a device; ``path`` is absolute and may hold a query."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/xml"


class Switch(Document):
    """How one thing of the device is turned on and off."""

    method: Literal["PUT", "POST"] = "PUT"
    path: str
    body: str = Field(default="", max_length=4096)
    content_type: Literal["application/xml", "application/json"] = "application/xml"
    on: str = Field(min_length=1, max_length=64)
    off: str = Field(min_length=1, max_length=64)

    @field_validator("path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        return _checked(path)

    @model_validator(mode="after")
    def _can_work(self) -> Self:
        written = self.path + self.body
        for name in _PLACEHOLDER.findall(self.path):
            if name not in ("number", "state"):
                raise ValueError(f"path: {{{name}}} is nothing to fill in; known: {{number}}, {{state}}")
        if "{state}" not in written:
            raise ValueError("neither path nor body holds {state}: on and off would be the same request")
        if "{number}" not in written:
            raise ValueError("neither path nor body holds {number}: every port would be the same")
        if self.on == self.off:
            raise ValueError(f"on and off are both {self.on!r}")
        return self

    def request(self, number: int, on: bool) -> Request:
        """The request that turns ``number`` on or off."""
        path, body = (
            text.replace("{number}", str(number)).replace("{state}", self.on if on else self.off)
            for text in (self.path, self.body)
        )
        return Request(self.method, path, body.encode(), self.content_type)


class SoftInput(Switch):
    """A recorder's soft alarm input. `stop` is in deployed clients; `start` is inferred from it."""

    path: str = "/ISAPI/System/IO/softInputs/trigger?format=json"
    body: str = '{"SoftIO": [{"id": {number}, "triggerType": "{state}"}]}'
    content_type: Literal["application/xml", "application/json"] = "application/json"
    on: str = "start"
    off: str = "stop"


class Output(Switch):
    """An alarm output's level. It is read as active/inactive and written as high/low."""

    path: str = "/ISAPI/System/IO/outputs/{number}/trigger"
    body: str = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<IOPortData version="2.0" '
        'xmlns="http://www.isapi.org/ver20/XMLSchema"><outputState>{state}</outputState></IOPortData>'
    )
    on: str = "high"
    off: str = "low"


class Record(Switch):
    """Manual recording of a track (101: main stream of channel 1). Some devices want POST."""

    path: str = "/ISAPI/ContentMgmt/record/control/manual/{state}/tracks/{number}"
    on: str = "start"
    off: str = "stop"


class Profile(Document):
    """Every path and body that we send. What a device's entry leaves out is as here."""

    device_info: str = "/ISAPI/System/deviceInfo"
    capabilities: str = "/ISAPI/System/capabilities"
    outputs: str = "/ISAPI/System/IO/outputs"
    output_status: str = "/ISAPI/System/IO/outputs/{number}/status"
    soft_input: SoftInput = SoftInput()
    output: Output = Output()
    record: Record = Record()

    @field_validator("device_info", "capabilities", "outputs", "output_status")
    @classmethod
    def _is_path(cls, path: str) -> str:
        return _checked(path)

    def switch(self, action: Action) -> Switch:
        """How this action's things are turned on and off."""
        return {"soft_input": self.soft_input, "output": self.output, "record": self.record}[action]


def _checked(path: str) -> str:
    if not re.fullmatch(r"/[!-~]*", path) or "//" in path or ".." in path or "#" in path:
        raise ValueError("expected an absolute path such as /ISAPI/System/deviceInfo")
    return path

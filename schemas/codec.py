"""Messages to bytes and back. One schema per message, its name and version in the header ``schema``."""

from typing import Any, Final, TypeVar

import msgspec

from schemas.effective import RoiRevision
from schemas.messages import Alert, CameraStatus, Delivery, DetectionEvent, Mark, RevisionAck, Silence
from schemas.problems import Undecodable

SCHEMAS: Final[dict[type[msgspec.Struct], str]] = {
    DetectionEvent: "detection-event/1",
    Alert: "alert/1",
    Delivery: "delivery/1",
    RoiRevision: "roi-revision/1",
    Mark: "mark/1",
    RevisionAck: "revision-ack/1",
    Silence: "silence/1",
    CameraStatus: "camera-status/1",
}
"""Every message that travels as JSON, with the name and version that its header carries."""

Message = TypeVar("Message", bound=msgspec.Struct)
Headers = list[tuple[str, bytes]]

_encoder = msgspec.json.Encoder()
_decoders: Final[dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]] = {
    message: msgspec.json.Decoder(message) for message in SCHEMAS
}


def encode(message: msgspec.Struct) -> bytes:
    """The message's value. Equal messages give equal bytes."""
    return _encoder.encode(message)


def schema_header(message: type[msgspec.Struct]) -> tuple[str, bytes]:
    """The header that tells a reader which schema the value follows."""
    return ("schema", SCHEMAS[message].encode())


def _shown(found: bytes | str | None) -> str:
    text = found.decode(errors="replace") if isinstance(found, bytes) else found
    return "no header schema" if text is None else text[:100]


def decode(message: type[Message], value: bytes | None, headers: Headers | None = None) -> Message:
    """The value as a message.

    ``headers`` is checked where it is given: a schema of another name or version raises
    `Undecodable("unknown_schema")`. A value that does not fit raises `Undecodable("bad_value")` with the place.
    Unknown keys are let be: schemas grow by adding.
    """
    if headers is not None:
        found = dict(headers).get("schema")
        if found != SCHEMAS[message].encode():
            raise Undecodable("unknown_schema", f"expected {SCHEMAS[message]}, found {_shown(found)}")
    if not value:
        raise Undecodable("empty")
    try:
        decoded: Message = _decoders[message].decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Undecodable("bad_value", str(error)) from None
    return decoded

"""The alerts as they were sent: the baseline `recorded`."""

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from replay.judging import instant_of
from replay.kafka_source import Records
from replay.spans import Span
from runtime.settings import KafkaSettings
from schemas.codec import decode
from schemas.messages import Alert
from schemas.problems import Undecodable
from schemas.topics import ALERTS

_FIRST_ENGINE: Final = b"1"
"""Alerts of before the header ``engine`` were judged by it."""


class Recorded(Struct, frozen=True):
    """Phases whose instant lies in the span, each once, in their partition's order.

    ``engines``: versions of the engine that judged them (`1` where an older worker did not say). ``bad``: records that
    cannot be decoded.
    """

    alerts: tuple[Alert, ...]
    engines: frozenset[str]
    bad: int = 0


def recorded_alerts(
    kafka: KafkaSettings,
    prefix: str,
    span: Span,
    cameras: Collection[str] | None = None,
    topic: str = ALERTS.name,
    header: tuple[str, bytes] | None = None,
) -> Recorded:
    """What ``topic`` holds of the span, read to its log end; only records with ``header``, where it is given.

    Raises `BrokerUnreachable`.
    """
    records = Records(kafka, prefix + topic)
    alerts: dict[tuple[str, int], Alert] = {}
    engines: set[str] = set()
    bad = 0
    try:
        for some in records.read(records.since(span.begin)):
            for record in some:
                headers = record.headers() or []
                if header is not None and header not in headers:
                    continue
                try:
                    alert = decode(Alert, record.value(), headers)
                except Undecodable:
                    bad += 1
                    continue
                if span.holds(instant_of(alert)) and (cameras is None or alert.camera_id in cameras):
                    alerts.setdefault((alert.alert_id, alert.seq), alert)
                    engines.add(dict(headers).get("engine", _FIRST_ENGINE).decode())
    finally:
        records.close()
    return Recorded(tuple(alerts.values()), frozenset(engines), bad)

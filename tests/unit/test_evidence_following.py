"""The list of alerts when a broker goes away in the middle of a round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evidence.following import AlertList
from runtime.kafka import BrokerUnreachable
from runtime.settings import KafkaSettings
from schemas.codec import encode, schema_header
from schemas.messages import Alert, Delivery, delivery_id
from schemas.topics import ALERTS, DELIVERIES, MARKS
from tests.support.alerts import OPENED_AT, opened


class Record:
    def __init__(self, message: Any) -> None:
        self._message = message

    def value(self) -> bytes:
        return encode(self._message)

    def headers(self) -> list[tuple[str, bytes]]:
        return [schema_header(type(self._message))]


class Topic:
    """Gives each record once; then, once, the broker is away."""

    def __init__(self, *messages: Alert | Delivery, away: bool = False) -> None:
        self._records, self._away, self.topic = [Record(each) for each in messages], away, "t"

    def new(self) -> Iterator[Any]:
        while self._records:
            yield self._records.pop(0)
        if self._away:
            self._away = False
            raise BrokerUnreachable("nothing came for 10 s")


def test_deliveries_that_were_read_before_the_broker_went_away_are_not_lost() -> None:
    alert = opened()
    alerts = AlertList(KafkaSettings(), "", 30, lambda: OPENED_AT)
    delivery = Delivery(delivery_id(alert), "desk", "delivered", 1, 1, 2, None)
    topics: Any = {DELIVERIES.name: Topic(delivery, away=True), MARKS.name: Topic(), ALERTS.name: Topic(alert)}
    with pytest.raises(BrokerUnreachable):
        alerts._refresh(topics)
    alerts._refresh(topics)
    found = alerts.get(alert.alert_id)
    assert found is not None
    assert found.deliveries == (delivery,)

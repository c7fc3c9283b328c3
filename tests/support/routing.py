"""A router in a thread or a process of its own, and alerts for it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from router.stage import run
from runtime.kafka import Producer, producer
from runtime.lifecycle import Stop
from runtime.settings import Settings
from schemas.codec import decode
from schemas.documents.services import AlertingSettings, Services
from schemas.messages import Alert, Delivery
from schemas.topics import ALERTS, DELIVERIES
from tests.support.alerts import record_of
from tests.support.broker import read_all, settings

ROOT = Path(__file__).resolve().parents[2]


def router_settings(bootstrap: str, prefix: str, **alerting: object) -> Settings:
    """Settings with which a router delivers to ``alerting``'s place."""
    services = Services(alerting=AlertingSettings.model_validate(alerting))
    return Settings(services=services, kafka=settings(bootstrap), prefix=prefix)


class RouterThread:
    """A router in this process."""

    def __init__(self, told: Settings) -> None:
        self._told = told
        self._stop = Stop()
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run, name="router", daemon=True)

    def _run(self) -> None:
        self.code = run(self._told, self._stop)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self, seconds: float = 60.0) -> int | None:
        """Waits for an end that comes by itself; answers the exit code."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the router did not end"
        return self.code

    def drain(self) -> int | None:
        """Stops it as SIGTERM does; answers the exit code."""
        self._stop.set()
        return self.join()


@contextmanager
def router_thread(told: Settings) -> Iterator[RouterThread]:
    """A running router, drained at the end."""
    router = RouterThread(told)
    router.start()
    try:
        yield router
    finally:
        router.drain()


def router_process(
    bootstrap: str,
    prefix: str,
    webhook_url: str | None = None,
    *,
    stdout: int | None = None,
    stderr: int | None = None,
    configs: Path = Path("no-such-folder"),
) -> "subprocess.Popen[bytes]":
    """`backsight router` as a process."""
    environ = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "BACKSIGHT_PREFIX": prefix,
        "ALERTING_PROTOCOL": "webhook" if webhook_url else "stdout",
        "ALERTING_WEBHOOK_URL": webhook_url or "",
    }
    command = [sys.executable, "-m", "cli.main", "router", "--configs", str(configs)]
    return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=stdout, stderr=stderr)


def alert_writer(bootstrap: str) -> Producer:
    """A producer as the rules have one."""
    return producer(settings(bootstrap), "test-rules", linger_ms=0)


def write_alerts(to: Producer, prefix: str, alerts: Iterable[Alert]) -> None:
    """Puts alerts on the topic in their order and waits for all of them."""
    failed: list[object] = []
    for alert in alerts:
        key, value, headers = record_of(alert)
        timestamp = alert.resolved_at or alert.opened_at
        to.produce(
            ALERTS.full_name(prefix),
            key=key,
            value=value,
            headers=headers,
            timestamp=timestamp,
            on_delivery=lambda error, _record: failed.append(error) if error else None,
        )
        to.poll(0)
    assert to.flush(30) == 0
    assert failed == []


def deliveries(bootstrap: str, prefix: str) -> list[Delivery]:
    """Every outcome on the topic."""
    records = read_all(bootstrap, DELIVERIES.full_name(prefix))
    return [decode(Delivery, record.value(), record.headers()) for record in records]

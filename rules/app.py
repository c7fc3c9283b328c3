"""The Faust app around the engine. `faust -A rules.app worker` finds `app` here; `rules.stage` starts it from code.

Configured by the environment as every stage is: KAFKA_BOOTSTRAP_SERVERS with its SASL and TLS settings,
BACKSIGHT_PREFIX, BACKSIGHT_CONFIGS.
"""

import asyncio
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, Final

from rules.client_talk import fold_client_talk
from rules.faust_compat import BUFFERED_MESSAGES, FAUST_LOGGER, faust  # before anything else of Faust
from rules.following import RevisionFollower
from rules.judge import STAGE, Judge
from rules.preflight import check_topics
from rules.recovery import WholeRecoveryManager
from rules.revision_acks import Acknowledgements
from rules.tables import RulesTables
from rules.watchdog import Watchdog, exit_code
from runtime.health import Health
from runtime.lifecycle import EXIT_OK
from runtime.logs import configure_logs, get_logger
from runtime.metrics import LAST_COMMIT, REBALANCES
from runtime.redact import redact
from runtime.revision_acks import worker_name
from runtime.settings import KafkaSettings, Settings, environment, load_settings
from runtime.tracing import Tracing
from schemas.topics import DETECTIONS, MAX_MESSAGE_BYTES

from faust.sensors import Monitor, Sensor  # isort: skip

DRAIN_SECONDS: Final = 4.0
"""For the event under way and the acknowledgements of those before it, when the app is told to stop."""

ABANDON_SECONDS: Final = 9.0
"""A process that failed, or was told to stop, ends after this whatever Faust still waits for."""

SESSION_SECONDS: Final = 15.0
"""A worker that is not heard of for as long is dead, and the others take its partitions. Tests lower it by the
environment variable BACKSIGHT_RULES_SESSION_SECONDS, at the price of false deaths on a busy machine."""

log = get_logger(__name__)


class QuietMonitor(Monitor):
    """Faust's monitor without its part in every event; `runtime.metrics` counts, commits too."""

    logger = FAUST_LOGGER

    on_message_in = Sensor.on_message_in
    on_message_out = Sensor.on_message_out
    on_stream_event_in = Sensor.on_stream_event_in
    on_stream_event_out = Sensor.on_stream_event_out
    on_send_initiated = Sensor.on_send_initiated
    on_send_completed = Sensor.on_send_completed
    on_send_error = Sensor.on_send_error
    on_table_get = Sensor.on_table_get
    on_table_set = Sensor.on_table_set
    on_table_del = Sensor.on_table_del

    def on_commit_completed(self, consumer: Any, state: Any) -> None:
        super().on_commit_completed(consumer, state)
        LAST_COMMIT.labels(STAGE).set_to_current_time()


class RulesApp(faust.App):
    """A Faust app that begins by reading its state back and ends without acknowledging what it did not finish."""

    logger = FAUST_LOGGER

    def __init__(self, settings: Settings) -> None:
        super().__init__(f"{settings.prefix}rules", **faust_settings(settings))
        self.kafka = settings.kafka
        self._settings = settings
        self.failure: BaseException | None = None
        self._acks = Acknowledgements(settings.kafka, settings.prefix, worker_name())
        self.revisions = RevisionFollower(settings.kafka, settings.prefix, self._failed_elsewhere, self._acks.tell)
        tracing = Tracing.of(settings, STAGE)
        self.judge = Judge(self, settings.prefix, RulesTables(self), self.revisions, self.failed, tracing)
        self._watchdog = Watchdog(self, DETECTIONS.full_name(settings.prefix))
        self.health = Health(STAGE, lambda: self.judge.stopping)
        self.health.check("assigned", lambda: None if self.is_ready() else "no partitions assigned and read back yet")
        self.health.check("revisions", lambda: self.revisions.trouble)
        self.health.check("fault", lambda: None if self.failure is None else type(self.failure).__name__)
        self.health.check("moving", self._watchdog.moving.fault, "alive")
        raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
        source = self.topic(DETECTIONS.full_name(settings.prefix), allow_empty=True, **raw)
        self.agent(source, name="judge", concurrency=1)(self._judge)

    async def _judge(self, stream: Any) -> None:
        await self.judge.run(stream)

    def is_ready(self) -> bool:
        """Whether the partitions of this generation are assigned and their state is read back."""
        return bool(self.tables.recovery.completed.is_set() and not self.rebalancing and not self.should_stop)

    def on_read_back(self, watermarks: dict[str, int]) -> None:
        """Called by the recovery between filling the tables and the first event."""
        detections = DETECTIONS.full_name(self._settings.prefix)
        self._acks.partitions = frozenset(tp.partition for tp in self.consumer.assignment() if tp.topic == detections)
        self.judge.read_back(watermarks)
        REBALANCES.labels(STAGE).inc()

    def failed(self, error: BaseException) -> None:
        """Ends the worker without acknowledging anything more; the process exits non-zero within 9 s."""
        self._note(error)
        self._crashing = asyncio.ensure_future(super().crash(error))

    def _failed_elsewhere(self, error: BaseException) -> None:
        """`failed`, from another thread."""
        self.loop.call_soon_threadsafe(self.failed, error)

    async def crash(self, reason: BaseException) -> None:
        """Faust's own way to fail, made to end the process too."""
        self._note(reason)
        await super().crash(reason)

    def _note(self, error: BaseException) -> None:
        if self.failure is not None:
            return
        self.failure = error
        self.judge.stopping = True
        log.error("rules_failed", error=f"{type(error).__name__}: {redact(str(error))}")
        self.end_soon(exit_code(error))

    @staticmethod
    def end_soon(code: int) -> None:
        """Makes sure that the process is gone in 9 s, whichever service of Faust hangs."""
        guard = threading.Timer(ABANDON_SECONDS, os._exit, [code])
        guard.daemon = True
        guard.start()

    async def on_start(self) -> None:
        """Checks the topics before Faust would wait for them without a word; starts the threads."""
        fold_client_talk()
        await asyncio.to_thread(check_topics, self._settings)
        self.revisions.start()
        self._watchdog.start()
        self.health.serve(self._settings.health_port, self._settings.health_host)
        await super().on_start()

    async def on_stop(self) -> None:
        """Finishes the event under way, waits for what it wrote and commits; then stops as Faust does."""
        self.end_soon(EXIT_OK if self.failure is None else exit_code(self.failure))
        self.judge.stopping = True
        if self.failure is None and self.is_drainable():
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self.judge.drained()
                    await self.consumer.commit()
            except TimeoutError:
                log.warning("stopped_before_all_was_acknowledged")
        await super().on_stop()
        self.revisions.stop()
        self._watchdog.stop()
        self.health.close()

    def is_drainable(self) -> bool:
        """Whether there is an assignment whose offsets could be committed."""
        return bool(self.tables.recovery.completed.is_set() and not self.rebalancing)

    def _create_directories(self) -> None:
        """None: the tables are in memory."""


def faust_settings(settings: Settings) -> dict[str, Any]:
    """Faust's settings. Why each differs from its default is in `docs/decisions/faust.md`."""
    return {
        "broker": [f"kafka://{server.strip()}" for server in settings.kafka.bootstrap_servers.split(",")],
        "broker_credentials": credentials(settings.kafka),
        "broker_client_id": worker_name(),
        "store": "memory://",
        "processing_guarantee": "at_least_once",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "stream_wait_empty": False,
        "stream_buffer_maxsize": 8_192,
        "stream_recovery_delay": 0.0,
        "broker_session_timeout": float(os.environ.get("BACKSIGHT_RULES_SESSION_SECONDS", SESSION_SECONDS)),
        "broker_heartbeat_interval": 2.0,
        "broker_request_timeout": 30.0,
        "broker_rebalance_timeout": 30.0,
        "broker_commit_interval": 1.0,
        "broker_commit_every": BUFFERED_MESSAGES,
        "broker_max_poll_records": 2_000,
        "broker_check_crcs": True,
        "consumer_auto_offset_reset": "earliest",
        "producer_request_timeout": 30.0,
        "producer_linger": 0.0,
        "producer_max_request_size": MAX_MESSAGE_BYTES,
        "producer_acks": -1,
        "web_enabled": False,
        "web_tables_enabled": False,
        "worker_redirect_stdouts": False,
        # Two workers of one machine must not look like one to the assignor.
        "canonical_url": f"http://{socket.gethostname()}:{1024 + os.getpid() % 60_000}",
        "TableManager": WholeRecoveryManager,
        "Monitor": QuietMonitor,
    }


def credentials(kafka: KafkaSettings) -> Any:
    """The SASL and TLS settings in Faust's words; None for a plain connection."""
    context = tls_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=None if kafka.sasl_password is None else kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism or "PLAIN",
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """A context that checks the broker's certificate and name, with our certificate where there is one."""
    context = ssl.create_default_context(cafile=kafka.ssl_ca_location)
    if kafka.ssl_certificate_location:
        password = None if kafka.ssl_key_password is None else kafka.ssl_key_password.get_secret_value()
        context.load_cert_chain(kafka.ssl_certificate_location, kafka.ssl_key_location, password)
    return context


_app: RulesApp | None = None


def __getattr__(name: str) -> Any:
    """``app``, made from the environment when it is first asked for, so that importing this module needs none."""
    global _app
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _app is None:
        environ = environment()
        configure_logs(STAGE)
        _app = RulesApp(load_settings(Path(environ.get("BACKSIGHT_CONFIGS", "configs")), environ))
    return _app

"""The evidence stage as a process: settings, topics, health, exit codes."""

from evidence.stage import GROUP, EvidenceStage
from evidence.store import EvidenceStore
from runtime.health import CannotServe, Health
from runtime.kafka import BrokerUnreachable, KafkaException, admin, wait_for_broker
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT, Stop
from runtime.logs import get_logger
from runtime.settings import Settings
from runtime.store import BadStore
from schemas.topics import ALERTS, FRAMES, ROI_REVISIONS

log = get_logger(__name__)


def run(settings: Settings, stop: Stop) -> int:
    """Keeps evidence until ``stop`` is set; answers the process's exit code."""
    try:
        store = EvidenceStore(settings.services.evidence.url, settings.prefix)
    except BadStore as bad:
        log.error("bad_setting", place="services.yaml: evidence.url (EVIDENCE_URL)", problem=str(bad))
        return EXIT_CONFIG
    health = Health(GROUP, stop.is_set)
    try:
        wait_for_broker(settings.kafka)
        _check_topics(settings)
        stage = EvidenceStage(settings, store, health)
        health.serve(settings.health_port, settings.health_host)  # with its checks in place
        log.info("evidence_started", topic=ALERTS.full_name(settings.prefix))
        return stage.run(stop)
    except BrokerUnreachable as unreachable:
        log.error("broker_unreachable", reason=str(unreachable))
        return EXIT_BROKER
    except CannotServe as error:
        log.error("cannot_listen", reason=str(error))
        return EXIT_FAULT
    except Exception:
        log.exception("evidence_broke")
        return EXIT_FAULT
    finally:
        health.close()


def _check_topics(settings: Settings) -> None:
    try:
        found = admin(settings.kafka, "backsight-evidence").list_topics(timeout=10).topics
    except KafkaException as error:
        raise BrokerUnreachable(error.args[0].str()) from None
    missing = [
        name for topic in (ALERTS, FRAMES, ROI_REVISIONS) if (name := topic.full_name(settings.prefix)) not in found
    ]
    if missing:
        raise BrokerUnreachable(f"there is no topic {' or '.join(missing)}; `backsight topics apply` creates them")

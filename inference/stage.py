"""The inference stage as a process: opens the detector, then joins the group, and ends with an exit code that tells.

The order matters: the model is loaded and has looked at a picture before the group is joined, so that a consumer that
has partitions is one that can work.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from inference.detectors import device_for, open_detector
from inference.detectors.contract import BadModel, Detector, DeviceLost, OutOfMemory
from inference.device import Claim, NoDevice, claim
from inference.flow import Flow, TooManyBad
from inference.gpu import GpuWatch
from inference.keeping import Remembering
from inference.model_registry import REGISTRY
from inference.model_watch import ModelWatch, took_over
from inference.sending import STAGE, BrokerTrouble, Sending
from runtime.dead_letters import DeadLetters
from runtime.health import CannotServe, Health
from runtime.kafka import BrokerUnreachable, KafkaError, KafkaException, TopicPartition, admin, consumer, producer
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_DEVICE, EXIT_FAULT, EXIT_OK, Stop
from runtime.logs import get_logger
from runtime.settings import Settings
from runtime.store import BadStore
from runtime.tracing import Tracing
from schemas.documents.services import InferenceSettings
from schemas.problems import BadDocument
from schemas.topics import DETECTIONS, FRAMES

GROUP: Final = "inference"
BROKER_SECONDS: Final = 30.0
"""How long a start waits for a broker; afterwards whoever supervises us may try again."""

log = get_logger(__name__)


class TopicsMissing(RuntimeError):
    """The topics are not there, or do not fit together."""


def run(settings: Settings, stop: Stop, environ: Mapping[str, str] | None = None, *, registry: Path = REGISTRY) -> int:
    """Runs until ``stop`` is set; answers the exit code.

    With ``environ``, the environment of ``settings``, the model is followed: another one in `services.yaml` takes
    over without a restart.
    """
    health = Health(STAGE, stop.is_set)
    loaded: list[Detector] = []
    health.check("model", lambda: None if loaded else "is being loaded")
    flows: list[Flow] = []
    health.check("assigned", lambda: None if flows and flows[0].assigned else "has no partitions yet")
    health.check("moving", lambda: flows[0].moving.fault() if flows else None, "alive")
    held: Claim | None = None
    watch: ModelWatch | None = None
    try:
        health.serve(settings.health_port, settings.health_host)
        remembering = Remembering.of(settings, now_ms)
        told = settings.services.inference
        held = claim(device_for(told), folder=settings.gpu_locks)
        device = held.device

        def opened(wanted: InferenceSettings) -> Detector:
            return open_detector(wanted, device=device, floor=settings.floor, registry=registry)

        detector = opened(told)
        loaded.append(detector)
        gpu = GpuWatch.of(device)
        if gpu is not None:
            health.before_metrics(gpu.look)
        took_over(detector, None)
        if environ is not None:
            watch = ModelWatch(settings, environ, opened, registry)
            health.check("next_model", lambda: None if watch is None else watch.refused, "degraded")
        health.tell("model", lambda: _model(flows[0].detector if flows else detector))
        return _serve(settings, stop, detector, health, flows, remembering, watch)
    except (BadModel, BadDocument) as error:
        log.error("model_refused", reason=str(error))
        return EXIT_CONFIG
    except BadStore as error:
        log.error("picture_memory_refused", reason=f"PICTURE_MEMORY_URL, or picture_memory.url: {error}")
        return EXIT_CONFIG
    except (NoDevice, DeviceLost, OutOfMemory) as error:
        log.error("device_unusable", reason=str(error))
        return EXIT_DEVICE
    except (BrokerUnreachable, BrokerTrouble, TopicsMissing) as error:
        log.error("broker_unusable", reason=str(error))
        return EXIT_BROKER
    except TooManyBad as error:
        log.error("too_many_bad_frames", reason=str(error))
        return EXIT_FAULT
    except CannotServe as error:
        log.error("cannot_listen", reason=str(error))
        return EXIT_FAULT
    finally:
        if watch is not None:
            watch.close()
        if held is not None:
            held.release()
        health.close()


def _serve(
    settings: Settings,
    stop: Stop,
    detector: Detector,
    health: Health,
    flows: list[Flow],
    remembering: Remembering | None,
    watch: ModelWatch | None,
) -> int:
    frames, detections = FRAMES.full_name(settings.prefix), DETECTIONS.full_name(settings.prefix)
    client_id = f"backsight-inference-{os.getpid()}"
    check_topics(settings, frames, detections)
    told = settings.services.inference
    sendings: list[Sending] = []

    def on_commit(error: KafkaError | None, places: list[TopicPartition]) -> None:
        for each in sendings:  # the client is made before what listens to it
            each.committed(error, places)

    client = consumer(
        settings.kafka,
        f"{settings.prefix}{GROUP}",
        client_id,
        # librdkafka would hold 64 MB, some 400 frames, in secret: that is staleness nobody sees.
        queued_max_messages_kbytes=16384,
        queued_min_messages=16,
        fetch_wait_max_ms=50,
        # Longer than the slowest batch on a CPU.
        max_poll_interval_ms=120_000,
        on_commit=on_commit,
    )
    # A broker that is away for hours is waited for: what was read is kept, and nothing more is read meanwhile.
    sender = producer(settings.kafka, client_id, message_timeout_ms=0)
    # A letter must not be behind events that wait: it has a producer of its own, and gives up before `deliver` does.
    letters = DeadLetters(
        producer(settings.kafka, f"{client_id}-letters", message_timeout_ms=20_000), settings.prefix, STAGE
    )
    sending = Sending(client, sender, letters, frames, detections, now_ms, Tracing.of(settings, STAGE))
    sendings.append(sending)
    flow = Flow(
        detector,
        client,
        sending,
        floor=settings.floor,
        batch_wait_ms=told.batch_wait_ms,
        staleness_ms=round(told.staleness_seconds * 1000),
        clock=now_ms,
        seen=None if remembering is None else remembering.seen,
    )
    flows.append(flow)
    try:
        if remembering is not None:
            remembering.start()
        flow.subscribe(frames)
        while not stop.is_set():
            health.beat()
            if watch is not None and (found := watch.next()) is not None:
                flow.take_over(found)
            flow.turn()
        if not flow.drain():
            raise BrokerUnreachable("the broker did not take the last events; their frames will be looked at again")
        log.info("drained")
    except TooManyBad:
        # What was buried is safe, so the next process need not bury it again.
        flow.drain()
        raise
    finally:
        flow.close()
        if remembering is not None:
            remembering.close()
    return EXIT_OK


def _model(detector: Detector) -> dict[str, str]:
    """What `/health` says of the model: which one runs, and where."""
    model = detector.model
    return {"name": model.name, "version": model.version, "sha256": model.sha256, "device": detector.device}


def now_ms() -> int:
    """Milliseconds UTC, by the wall clock: frames of other machines are compared with it."""
    return time.time_ns() // 1_000_000


def check_topics(settings: Settings, frames: str, detections: str) -> None:
    """Raises `BrokerUnreachable` or `TopicsMissing`, with what to do.

    An event goes to the partition of its frame, so both topics must have equally many.
    """
    try:
        found = admin(settings.kafka).list_topics(timeout=BROKER_SECONDS).topics
    except KafkaException as error:
        raise BrokerUnreachable(
            f"no Kafka broker answered at {settings.kafka.bootstrap_servers} within {BROKER_SECONDS:g} s "
            f"({error.args[0].str()}); `backsight kafka up` starts a local one"
        ) from None
    missing = [name for name in (frames, detections) if name not in found or not found[name].partitions]
    if missing:
        raise TopicsMissing(f"there is no topic {' or '.join(missing)}; `backsight topics apply` creates the topics")
    counts = {name: len(found[name].partitions) for name in (frames, detections)}
    if len(set(counts.values())) > 1:
        raise TopicsMissing(
            f"an event goes to the partition of its frame, but {frames} has {counts[frames]} partitions "
            f"and {detections} {counts[detections]}"
        )

"""What `backsight doctor` looks at, one file a thing, each check with a time of its own."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cli.checks import api, cameras, configs, device, kafka, lag, machine, model
from cli.checks.finding import Finding, fault, note
from cli.checks.readings import Readings
from runtime.configs import Checked, ResolvedCamera
from runtime.settings import Settings

AT_ONCE = 16
"""Checks side by side, so that a hundred cameras do not decode at once; then the next."""


class Check(NamedTuple):
    """One thing to look at. ``subject`` names it where it does not answer in time."""

    subject: str
    look: Callable[[], list[Finding]]


def checks_of(
    checked: Checked, environ: Mapping[str, str], readings: Readings, *, data: Path, seconds: float, watch: float
) -> list[Check]:
    """Everything there is to look at. ``seconds``: for each; ``watch``: for which a camera is watched, 0 for not."""
    found = [
        Check("configs", lambda: configs.configs(checked, environ)),
        Check("memory", lambda: [machine.memory(readings)]),
        Check("clock", lambda: [machine.clock(readings)]),
        Check("versions", lambda: [machine.programs(), machine.parts()]),
    ]
    settings = checked.settings
    if settings is None:
        later = "not looked at: services.yaml or the environment does not check"
        return [*found, Check("everything else", lambda: [note("kafka, gpu, model, disk, ports", later)])]
    services = settings.services
    folders = {"pictures": services.picture_memory.url, "evidence": services.evidence.url}
    if not settings.kafka_is_given:  # else nothing is kept there: `up` and its Kafka run elsewhere, or not at all
        folders["the local Kafka"] = str(data / "kafka")
    local = {what: Path(each) for what, each in folders.items() if "://" not in each}
    labels = sorted({label for entry in checked.rois.cameras for label in entry.alert_classes})
    found += [
        Check("disk", lambda: machine.disks(readings, local)),
        Check("ports", lambda: machine.ports(settings)),
        Check("gpu", lambda: [device.device(services.inference, readings)]),
        Check("model", lambda: [model.model(services.inference, labels)]),
        Check("api", lambda: [api.access(services.api)]),
    ]
    reached = kafka.cluster(settings, data)
    if reached is None:
        found.append(Check("kafka", lambda: kafka.local_kafka(data)))
    else:
        there = settings.model_copy(update={"kafka": reached})
        found.append(Check("kafka", lambda: _kafka(there, seconds / 2)))
    return [*found, *(_camera(resolved, watch) for resolved in checked.cameras if watch)]


def _kafka(settings: Settings, seconds: float) -> list[Finding]:
    """Lag is asked for where Kafka answers."""
    found = kafka.kafka(settings, seconds)
    return found if found[0].state == "fault" else [*found, *lag.lag(settings)]


def _camera(resolved: ResolvedCamera, watch: float) -> Check:
    return Check(f"camera {resolved.camera.id}", lambda: cameras.camera(resolved, watch))


def run_checks(checks: Sequence[Check], seconds: float) -> Iterator[list[Finding]]:
    """What each check found, in their order; one that takes longer than ``seconds`` is a fault of its own.

    A check that hangs is left behind in its thread, which does not keep the process from ending.
    """
    for first in range(0, len(checks), AT_ONCE):
        begun = [(check, _begin(check)) for check in checks[first : first + AT_ONCE]]
        end = time.monotonic() + seconds
        for check, answer in begun:
            try:
                yield answer.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                said = f"no answer within {seconds:g} s"
                yield [fault(check.subject, said, "look at what it waits for; --seconds gives it more")]


def _begin(check: Check) -> "queue.SimpleQueue[list[Finding]]":
    answer: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()

    def look() -> None:
        try:
            answer.put(check.look())
        except Exception as error:  # a check that breaks is a finding, and the others go on
            answer.put([fault(check.subject, f"could not be looked at ({type(error).__name__}: {error})", "report it")])

    threading.Thread(target=look, name=check.subject, daemon=True).start()
    return answer

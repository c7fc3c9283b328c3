"""A running pipeline as it is looked at: real Prometheus scrapes every process, and a collector gets traces by OTLP."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from demos.yard import Yard
from demos.yard.clip import write_clip
from runtime.broker import LocalBroker
from runtime.broker.ports import pick_free
from runtime.kafka import deliver, producer
from runtime.settings import KafkaSettings
from tests.support.broker import new_prefix, remove_prefixed
from tests.support.dashboards import targets
from tests.support.metrics import named
from tests.support.pipeline import REPOSITORY, environment, records, running, until
from tests.support.prometheus import Prometheus, prometheus
from tests.support.receiver import Receiver

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CAMERA: Final = "yard_gate"
ABSENT: Final = {
    "backsight_gpu_use_ratio": "a GPU",
    "backsight_gpu_decoder_use_ratio": "a GPU",
    "backsight_gpu_memory_used_bytes": "a GPU",
    "backsight_gpu_memory_total_bytes": "a GPU",
    "backsight_gpu_temperature_celsius": "a GPU",
    "backsight_gpu_power_watts": "a GPU",
    "backsight_gpu_xid_errors_total": "a GPU that fails",
    "backsight_camera_frames_dropped_total": "a broker that is slow",
    "backsight_produce_errors_total": "a broker that refuses",
    "backsight_pictures_dropped_total": "a picture memory that is slow",
    "backsight_alerts_suppressed_total": "an episode within the debounce window",
    "backsight_labels_unlisted_total": "a label that the document forgot",
    "backsight_sink_outputs_on": "a network recorder",
    "backsight_sink_output_overdue": "a network recorder that does not obey",
}
"""Series that a run like this one does not have, and what it would take."""


def written(tmp_path: Path) -> Path:
    """A camera in whose whole picture everything is forbidden, one that is away, and a sink with an age limit."""
    clip = tmp_path / "gate.mp4"
    write_clip(clip, Yard(seed=801, camera=CAMERA), 6, fps=5)
    folder = tmp_path / "configs"
    folder.mkdir()
    whole = {
        "name": "whole",
        "points": [[0, 0], [1, 0], [1, 1], [0, 1]],
        "units": "fractions",
        "anchor": "center",
        "confirm": {"hits": 1, "within_seconds": 1},
    }
    documents = {
        "cameras": {
            "cameras": [
                {"id": CAMERA, "url": str(clip), "loop": True, "fps_target": 2},
                {"id": "away", "url": "rtsp://127.0.0.1:1/none"},
            ]
        },
        "rois": {
            "cameras": [{"camera_id": CAMERA, "forbidden_rois": [whole], "alert_classes": ["object", "pine", "worker"]}]
        },
        "routes": {
            "sinks": [{"name": "record", "kind": "file", "path": str(tmp_path / "alerts.jsonl")}],
            "route": {"sinks": ["record"]},
        },
    }
    for name, document in documents.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return folder


@contextmanager
def beside(folder: Path, environ: dict[str, str], *arguments: str) -> Iterator[int]:
    """Another process of Backsight; its health port."""
    port = pick_free()
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=REPOSITORY,
            env={**environ, "BACKSIGHT_HEALTH_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


class Observed(NamedTuple):
    """A pipeline that runs, and who looks at it."""

    scraped: Prometheus
    collector: Receiver
    bootstrap: str
    prefix: str


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, kafka_broker: LocalBroker) -> Iterator[Observed]:
    """Every process, shadow and archive beside them, until there is an alert and some traces of trouble."""
    if shutil.which("prometheus") is None:
        if os.environ.get("CI"):
            pytest.fail("prometheus is not installed: see .ci/run")
        pytest.skip("needs Prometheus (Debian: prometheus)")
    tmp_path, bootstrap, prefix = tmp_path_factory.mktemp("observed"), kafka_broker.bootstrap, new_prefix()
    configs, data, api = written(tmp_path), tmp_path / "data", pick_free()
    place = ["--configs", str(configs), "--prefix", prefix]
    with Receiver() as collector:
        environ = dict(
            environment(
                bootstrap,
                API_PORT=str(api),
                API_AUTH="off",
                BACKSIGHT_TRACE_RATIO="0.5",
                OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
                OTEL_BSP_SCHEDULE_DELAY="500",
            )
        )
        with running(["up", *place, "--data", str(data)], environ, tmp_path / "out") as up:
            until(lambda: len(up.children()) == 6, 60, "six processes", lambda: up.logs(data))
            ports = {stage: [int(child.environ()["BACKSIGHT_HEALTH_PORT"])] for stage, child in up.children().items()}
            until(lambda: "ready" in _log(data, "rules"), 120, "the rules judge", lambda: up.logs(data))
            shadowed = ["shadow", "run", "--rois", str(configs / "rois.yaml"), "--from", "-10m", *place]
            archived = ["archive", "run", "--to", str(tmp_path / "history"), "--follow", "--every", "2s", *place]
            with (
                beside(tmp_path, environ, *shadowed) as shadow,
                beside(tmp_path, environ, *archived) as archive,
                prometheus(tmp_path / "prometheus", {**ports, "shadow": [shadow], "archive": [archive]}) as scraped,
            ):
                until(lambda: records(bootstrap, f"{prefix}alerts"), 120, "an alert", lambda: up.logs(data))
                _do_what_leaves_a_trace(bootstrap, prefix, configs, api)
                yield Observed(scraped, collector, bootstrap, prefix)
    remove_prefixed(bootstrap, prefix)


def test_prometheus_finds_every_series_that_dashboards_and_rules_ask_for(observed: Observed) -> None:
    scraped = observed.scraped
    _look(scraped)
    rules = [rule for group in scraped.get("rules")["groups"] for rule in group["rules"]]
    until(lambda: scraped.query('ALERTS{alertname="BacksightWatchdog"}'), 20, "the watchdog fires")
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}, rules


def test_a_frame_that_opens_an_alert_is_one_trace_through_kafka_sampled_or_not(observed: Observed) -> None:
    alert = next(
        each for each in records(observed.bootstrap, f"{observed.prefix}alerts") if b'"phase":"opened"' in each.value
    )
    _version, trace_id, judged, flags = alert.headers["traceparent"].decode().split("-")
    assert int(flags, 16) & 1, "sampled"
    found: dict[str, Any] = {}

    def told() -> bool:
        for service, span in spans(observed.collector):
            if span.trace_id.hex() == trace_id:
                found[span.name] = (service, span)
        return set(found) == {"capture", "infer", "judge", "deliver"}

    until(told, 60, "the alert's trace", lambda: found)
    capture, infer, judge, deliver = (found[name][1] for name in ("capture", "infer", "judge", "deliver"))
    assert not capture.parent_span_id
    assert infer.parent_span_id == capture.span_id
    assert judge.parent_span_id == infer.span_id
    assert deliver.parent_span_id == judge.span_id == bytes.fromhex(judged)
    assert found["judge"][0] == "backsight-rules"
    assert found["deliver"][0] == "backsight-router"
    assert capture.start_time_unix_nano <= infer.end_time_unix_nano <= judge.end_time_unix_nano

    frames = {each[:2]: each for each in records(observed.bootstrap, f"{observed.prefix}frames") if each.value}
    sampled = {place for place, each in frames.items() if "traceparent" in each.headers}
    assert 0 < len(sampled) < len(frames), "one in two"
    for event in records(observed.bootstrap, f"{observed.prefix}detections"):
        if event.key != CAMERA.encode():
            continue
        frame = json.loads(event.value)["frame"]
        place = (frame["partition"], frame["offset"])
        if place in frames:
            ours, theirs = event.headers.get("traceparent"), frames[place].headers.get("traceparent")
            assert (ours is None) == (theirs is None)
            assert ours is None or ours.split(b"-")[1] == theirs.split(b"-")[1]


def spans(collector: Receiver) -> Iterator[tuple[str, Any]]:
    """Every span that was exported, and the service it is of."""
    for each in list(collector.got):
        request = ExportTraceServiceRequest.FromString(each.body)
        for resource in request.resource_spans:
            facts = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
            for scope in resource.scope_spans:
                yield from ((facts["service.name"], span) for span in scope.spans)


def _log(data: Path, stage: str) -> str:
    file = data / "logs" / f"{stage}.log"
    return file.read_text() if file.exists() else ""


def _do_what_leaves_a_trace(bootstrap: str, prefix: str, configs: Path, api: int) -> None:
    """A mark, a record that cannot be judged, a changed document."""
    alert = yaml.safe_load(records(bootstrap, f"{prefix}alerts")[0].value)["alert_id"]
    marked = httpx.post(f"http://127.0.0.1:{api}/alerts/{alert}/mark", json={"true": False, "by": "test"}, timeout=30)
    assert marked.status_code == 200, marked.text
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    deliver(producer(kafka, "test"), f"{prefix}detections", value=b"no event", key=b"nobody")
    routes = configs / "routes.yaml"
    routes.write_text(routes.read_text() + "# looked at again\n")


def _look(scraped: Prometheus) -> None:
    """Every query of every dashboard answers with a series, whatever number it is of."""
    asked = [each for each in targets() if not named(each.expression) & ABSENT.keys()]
    assert len(asked) > 60
    empty = list(asked)

    def look() -> bool:
        empty[:] = [each for each in empty if not scraped.query(each.expression)]
        return not empty

    until(look, 120, "a series for every query", lambda: empty)
    for name in ABSENT:
        assert not scraped.query(name), f"{name} is there after all: take it off the list"

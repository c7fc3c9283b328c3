"""Backsight's own troubles on a real broker: observed, written, routed by `kind = system`, told to real receivers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runtime.kafka import Producer, deliver, producer
from runtime.settings import Settings
from schemas.codec import encode, schema_header
from schemas.messages import CameraState, CameraStatus, DetectionEvent, FrameRef, Model
from schemas.topics import CAMERA_STATUS, DETECTIONS
from tests.support.alerts import opened
from tests.support.broker import settings
from tests.support.receiver import Receiver
from tests.support.routing import alert_writer, deliveries, router_thread, write_alerts

pytestmark = pytest.mark.usefixtures("topics")

SYSTEM = "camera_offline_seconds: 3, steady_seconds: 1"


class Detector:
    """Writes events as inference does."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._topic = DETECTIONS.full_name(prefix)
        self._writer: Producer = producer(settings(bootstrap), "test-inference", linger_ms=0)
        self._seq = 0

    def writes(self, camera: str, *, offline: bool = False) -> None:
        self._seq += 1
        event = DetectionEvent(
            camera,
            round(time.time() * 1000),
            self._seq,
            FrameRef("frames", 0, self._seq),
            0,
            0,
            0.2,
            Model("m", "1", ""),
        )
        told = replace(event, skipped="offline") if offline else event
        deliver(self._writer, self._topic, key=camera, value=encode(told), headers=[schema_header(DetectionEvent)])


def ingest_says(bootstrap: str, prefix: str, camera: str, state: CameraState, age_ms: int = 0) -> None:
    now = round(time.time() * 1000)
    status = CameraStatus(camera, state, now - 60_000 - age_ms, now - age_ms)
    topic, header = CAMERA_STATUS.full_name(prefix), schema_header(CameraStatus)
    deliver(producer(settings(bootstrap), "test-ingest"), topic, key=camera, value=encode(status), headers=[header])


def told(bootstrap: str, prefix: str, folder: Path, office: Receiver, desk: Receiver, system: str) -> Settings:
    (folder / "routes.yaml").write_text(f"""
sinks:
  - {{name: office, kind: webhook, url: "{office.url}"}}
  - {{name: desk, kind: webhook, url: "{desk.url}"}}
system: {{{system}}}
route:
  sinks: [desk]
  routes:
    - {{match: ['kind = system'], sinks: [office]}}
""")
    return Settings(kafka=settings(bootstrap), prefix=prefix, configs=folder)


def alerts_of(receiver: Receiver) -> list[dict[str, Any]]:
    return [got.json["data"].get("alert", got.json["data"]) for got in receiver.got]


def test_a_camera_that_goes_offline_is_told_by_the_route_for_system_alerts_and_resolves_over_a_restart(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    detector = Detector(bootstrap, prefix)
    with Receiver() as office, Receiver() as desk:
        configured = told(bootstrap, prefix, tmp_path, office, desk, SYSTEM)
        detector.writes("gate")
        detector.writes("yard")
        with router_thread(configured):
            detector.writes("gate", offline=True)
            office.wait_for(1)
            alert = opened(1, camera="gate", at=round(time.time() * 1000) - 5000)
            write_alerts(alert_writer(bootstrap), prefix, [alert])
            desk.wait_for(1)
        with router_thread(configured):
            detector.writes("gate")
            office.wait_for(2)
        first, second = alerts_of(office)
        assert [each["phase"] for each in (first, second)] == ["opened", "resolved"]
        assert (first["camera_id"], first["roi"], first["label"]) == ("gate", "system/camera", "camera_offline")
        assert first["alert_id"] == second["alert_id"]
        assert len(desk.got) == 1, "the desk hears of what was seen, not of cameras"
    outcomes = {each.delivery_id: (each.sink, each.outcome) for each in deliveries(bootstrap, prefix)}
    assert outcomes[f"{first['alert_id']}_0"] == outcomes[f"{first['alert_id']}_1"] == ("office", "delivered")


def test_a_frozen_camera_is_told_until_it_moves_and_a_status_that_nobody_repeats_is_not_believed(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    detector = Detector(bootstrap, prefix)
    with Receiver() as office, Receiver() as desk:
        configured = told(bootstrap, prefix, tmp_path, office, desk, SYSTEM)
        for camera in ("gate", "yard"):
            detector.writes(camera)
        ingest_says(bootstrap, prefix, "gate", "frozen")
        ingest_says(bootstrap, prefix, "yard", "frozen", age_ms=600_000)
        with router_thread(configured):
            office.wait_for(1)
            ingest_says(bootstrap, prefix, "gate", "live")
            office.wait_for(2)
        assert [(each["camera_id"], each["label"], each["phase"]) for each in alerts_of(office)] == [
            ("gate", "camera_frozen", "opened"),
            ("gate", "camera_frozen", "resolved"),
        ]


def test_a_reload_that_is_refused_is_told_until_it_is_mended(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    with Receiver() as office, Receiver() as desk:
        configured = told(bootstrap, prefix, tmp_path, office, desk, SYSTEM)
        routes = tmp_path / "routes.yaml"
        good = routes.read_text()
        with router_thread(configured):
            seen = opened(1, at=round(time.time() * 1000) - 5000)
            write_alerts(alert_writer(bootstrap), prefix, [seen])
            desk.wait_for(1)  # so it runs, by the good one
            routes.write_text(good.replace("sinks: [desk]", "sinks: [nobody]"))
            office.wait_for(1)
            routes.write_text(good)
            office.wait_for(2)
        assert [(each["label"], each["phase"]) for each in alerts_of(office)] == [
            ("reload_refused", "opened"),
            ("reload_refused", "resolved"),
        ]
        assert len(desk.got) == 1


def test_the_watchdog_reaches_every_sink_once_though_two_routers_run_and_one_begins_again(
    bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    hour = time.strftime("%H:%M", time.gmtime())
    watchdog = f"watchdog: {{at: '{hour}', timezone: UTC}}"
    with Receiver() as office, Receiver() as desk:
        configured = told(bootstrap, prefix, tmp_path, office, desk, watchdog)
        with router_thread(configured), router_thread(configured):
            office.wait_for(1)
            desk.wait_for(1)
        with router_thread(configured):
            alert = opened(1, at=round(time.time() * 1000) - 5000)
            write_alerts(alert_writer(bootstrap), prefix, [alert])
            desk.wait_for(2)
            time.sleep(5)  # two looks of the observer: nothing more is told
        assert [each["label"] for each in alerts_of(office)] == ["watchdog"]
        assert [each["label"] for each in alerts_of(desk)] == ["watchdog", "object"]

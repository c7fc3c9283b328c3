"""Every sink that has room for a text tells the signed link to the evidence, each in its own words."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from router.sinks import Notice, known_sinks, open_sink
from router.sinks import redis as redis_sink
from router.sinks.alertmanager import posted
from router.sinks.apprise import words
from router.sinks.stdout import Stdout
from router.sinks.webhook import body_of
from tests.support.alerts import opened
from tests.support.telling import notice

LINK = "https://plant.example/alerts/1/evidence.jpg?expires=1795474800&signature=0f"
TEXTLESS = {"hikvision"}
"""They move something and say nothing."""


def _sink(kind: str, **written: object) -> object:
    return open_sink({"name": "it", "kind": kind} | written, "sinks[0]", {})


def by_stdout(told: Notice, _folder: Path) -> object:
    out = io.BytesIO()
    asyncio.run(Stdout(out, readable=False).deliver(told))
    return json.loads(out.getvalue()).get("evidence_url")


def by_file(told: Notice, folder: Path) -> object:
    sink = _sink("file", path=str(folder / "alerts.jsonl"))
    asyncio.run(sink.deliver(told))  # type: ignore[attr-defined]
    return json.loads((folder / "alerts.jsonl").read_text()).get("evidence_url")


def by_kafka(told: Notice, _folder: Path) -> object:
    sink = _sink("kafka", bootstrap_servers="127.0.0.1:1", topic="out", cloudevents=True)
    headers = dict(sink._record(told).headers)  # type: ignore[attr-defined]
    assert headers.get("evidence-url") == headers.get("ce_evidenceurl")
    return headers.get("evidence-url", b"").decode() or None


def by_mqtt(told: Notice, _folder: Path) -> object:
    events = [
        message.payload
        for message in _sink("mqtt", url="mqtt://127.0.0.1:1")._messages(told)  # type: ignore[attr-defined]
        if message.topic == "backsight/events"
    ]
    return json.loads(events[0]).get("evidence_url")


BY: dict[str, Callable[[Notice, Path], object]] = {
    "stdout": by_stdout,
    "file": by_file,
    "kafka": by_kafka,
    "mqtt": by_mqtt,
    "webhook": lambda told, _: json.loads(body_of(told)).get("evidence_url"),
    "redis": lambda told, _: redis_sink._fields(told).get("evidence_url"),
    "alertmanager": lambda told, _: posted({}, [told], told, 0)["annotations"].get("evidence_url"),
    "apprise": lambda told, _: next((line for line in words(told)[1].splitlines() if "://" in line), None),
}


def test_no_sink_is_forgotten() -> None:
    assert set(BY) | TEXTLESS == set(known_sinks())


@pytest.mark.parametrize("kind", sorted(BY))
def test_the_link_is_told_where_there_is_one_and_nothing_where_there_is_none(kind: str, tmp_path: Path) -> None:
    told = notice(opened())
    for folder, link in (("with", LINK), ("without", None)):
        (tmp_path / folder).mkdir()
        linked = msgspec.structs.replace(told, evidence_url=link)
        assert BY[kind](linked, tmp_path / folder) == link


def test_a_line_for_a_person_ends_with_the_link() -> None:
    out = io.BytesIO()
    linked = msgspec.structs.replace(notice(opened()), evidence_url=LINK)
    asyncio.run(Stdout(out, readable=True).deliver(linked))
    assert out.getvalue().decode().rstrip("\n").endswith(f"  {LINK}")

"""What the health port answers, over real HTTP, and which check fails what."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime import health as health_module
from runtime.health import CannotServe, Health
from runtime.moving import Moving
from runtime.settings import load_settings
from schemas.problems import BadDocument


class Served:
    """A `Health` behind its port, and what its checks are to say."""

    def __init__(self) -> None:
        self.draining = False
        self.faults: dict[str, str | None] = {"degraded": None, "ready": None, "alive": None}
        self.health = Health("test", lambda: self.draining)
        self.health.check("a camera", lambda: self.faults["degraded"], "degraded")
        self.health.check("assigned", lambda: self.faults["ready"])
        self.health.check("moving", lambda: self.faults["alive"], "alive")
        self.port = self.health.serve(0)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}")
        return answer.status_code, answer.json()

    def statuses(self) -> tuple[int, int, int]:
        return self.get("/livez")[0], self.get("/readyz")[0], self.get("/health")[0]


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.health.close()


def test_a_process_that_is_well_says_so_and_who_it_is(served: Served) -> None:
    assert served.statuses() == (200, 200, 200)
    _, body = served.get("/health")
    assert (body["status"], body["stage"]) == ("ok", "test")
    assert body["version"]
    assert body["uptime_seconds"] >= 0
    assert set(body["checks"]) == {"heartbeat", "draining", "a camera", "assigned", "moving"}
    assert served.get("/nothing")[0] == 404


@pytest.mark.parametrize(
    ("fails", "statuses", "word"),
    [
        ("degraded", (200, 200, 200), "degraded"),
        ("ready", (200, 503, 503), "failing"),
        ("alive", (503, 503, 503), "failing"),
    ],
)
def test_what_fails_with_a_check(served: Served, fails: str, statuses: tuple[int, int, int], word: str) -> None:
    served.faults[fails] = "no partitions"
    assert served.statuses() == statuses
    assert served.get("/health")[1]["status"] == word


def test_probes_say_a_word_and_more_when_asked(served: Served) -> None:
    served.faults["ready"] = "no partitions"
    assert served.get("/readyz")[1] == {"status": "failing"}
    verbose = served.get("/readyz?verbose")[1]["checks"]
    assert verbose["assigned"]["detail"] == "no partitions"
    assert verbose["moving"]["status"] == "ok"
    assert set(served.get("/livez?verbose")[1]["checks"]) == {"heartbeat", "moving"}


def test_since_is_when_a_check_was_first_seen_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def since(at: float) -> int:
        monkeypatch.setattr(health_module.time, "time", lambda: at)
        checks = json.loads(served.health.answer("/health")[2])["checks"]
        return int(checks["assigned"]["since"])

    first = since(1_000.0)
    assert since(2_000.0) == first == 1_000_000
    served.faults["ready"] = "gone"
    assert since(3_000.0) == 3_000_000
    served.faults["ready"] = "gone, in other words"
    assert since(4_000.0) == 3_000_000
    served.faults["ready"] = None
    assert since(5_000.0) == 5_000_000


def test_a_process_that_is_being_stopped_is_alive_and_not_ready(served: Served) -> None:
    served.draining = True
    assert served.statuses() == (200, 503, 503)


def test_a_loop_that_hangs_is_not_alive_but_one_that_has_not_begun_is(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(health_module.time, "monotonic", lambda: clock[0])
    assert served.health.answer("/livez")[0] == 200
    served.health.beat()
    clock[0] += 29
    assert served.health.answer("/livez")[0] == 200
    clock[0] += 2
    assert served.health.answer("/livez")[0] == 503


def test_a_consumer_fails_when_it_is_behind_and_finishes_nothing() -> None:
    clock = [0.0]
    moving = Moving("test", lambda: clock[0])
    for at, lag, finished, holding, well in (
        (0, 9, 5, False, True),
        (119, 9, 5, False, True),
        (121, 9, 5, False, False),
        (122, 9, 6, False, True),
        (500, 0, 6, False, True),
        (501, 9, 6, False, True),
        (700, 9, 6, True, True),
    ):
        clock[0] = at
        moving.look(lag, finished, 1, holding=holding)
        assert (moving.fault() is None) is well, at


def test_metrics_say_what_runs_and_whether_it_is_ready(served: Served) -> None:
    looked: list[int] = []
    served.health.before_metrics(lambda: looked.append(1))
    served.faults["ready"] = "no partitions"
    text = httpx.get(f"http://127.0.0.1:{served.port}/metrics").text
    assert 'backsight_ready{stage="test"} 0.0' in text
    assert 'backsight_build_info{python="3.' in text
    assert 'backsight_uptime_seconds{stage="test"}' in text
    assert "process_resident_memory_bytes" in text
    assert looked == [1]


def test_where_it_is_served_comes_from_the_environment(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}).health_port is None
    told = load_settings(tmp_path, {"BACKSIGHT_HEALTH_PORT": "9100", "BACKSIGHT_HEALTH_HOST": "0.0.0.0"})
    assert (told.health_port, told.health_host) == (9100, "0.0.0.0")
    assert load_settings(tmp_path, {"BACKSIGHT_HEALTH_PORT": "9100"}).health_host == "127.0.0.1"
    with pytest.raises(BadDocument, match="BACKSIGHT_HEALTH_PORT"):
        load_settings(tmp_path, {"BACKSIGHT_HEALTH_PORT": "port"})


def test_a_port_that_is_not_to_be_had_is_named_with_its_setting_and_what_to_do(served: Served) -> None:
    other = Health("other")
    with pytest.raises(
        CannotServe, match=rf"BACKSIGHT_HEALTH_PORT: port {served.port} of 127.0.0.1 is taken .*free port"
    ):
        other.serve(served.port)
    with pytest.raises(CannotServe, match=r"BACKSIGHT_HEALTH_HOST, .*: cannot serve at 192\.0\.2\.1:0"):
        other.serve(0, "192.0.2.1")
    other.close()

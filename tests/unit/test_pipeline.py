"""Supervising stages and reading their figures, without Kafka."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from runtime.pipeline import processes
from runtime.pipeline.figures import as_table, summarise
from runtime.pipeline.processes import StageProcess
from runtime.pipeline.warnings import LogWarnings


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "BACKOFF_SECONDS", (0.01,))
    started: list[StageProcess] = []

    def make(name: str, program: str) -> StageProcess:
        each = StageProcess(name, [], dict(os.environ), tmp_path / f"{name}.log")
        each._command = [sys.executable, "-c", program]
        started.append(each)
        each.start()
        return each

    yield make
    for each in started:
        each.tell_to_stop()
        each.wait_stopped(5)


def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_stage_that_is_killed_is_reported_and_started_again(stage) -> None:
    said: list[str] = []
    each = stage("rules", "import time; time.sleep(60)")
    os.kill(each.pid, signal.SIGKILL)
    until(lambda: each.watch(said.append) is None and each.starts == 2)
    assert each.pid is not None
    assert "rules was killed by SIGKILL; starting it again" in said[0]


def test_a_wrong_document_ends_everything_with_the_stage_s_own_words(stage) -> None:
    said: list[str] = []
    each = stage("inference", "import sys; print('error: no such model', file=sys.stderr); sys.exit(2)")
    codes: list[int | None] = []
    until(lambda: codes.append(each.watch(said.append)) or codes[-1] is not None)
    assert codes[-1] == 2
    assert "error: no such model" in said[0]
    assert each.starts == 1


def test_ingest_that_ends_well_has_come_to_the_end_of_its_files(stage) -> None:
    each = stage("ingest", "pass")
    until(lambda: each.watch(lambda _: None) is None and each.finished)
    assert each.starts == 1


def test_a_stage_that_does_not_stop_is_killed(stage) -> None:
    each = stage("api", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); time.sleep(60)")
    each.tell_to_stop()
    assert each.wait_stopped(0.5) is not None
    assert each.pid is None


def test_figures_add_up_over_cameras_and_stages() -> None:
    samples = {
        "ingest": [
            ("backsight_camera_up", {"camera": "a"}, 1.0),
            ("backsight_camera_up", {"camera": "b"}, 0.0),
            ("backsight_camera_frames_total", {"camera": "a"}, 10.0),
            ("backsight_camera_frames_total", {"camera": "b"}, 5.0),
        ],
        "rules": [
            ("backsight_alerts_total", {"camera": "a", "severity": "warning", "phase": "opened"}, 2.0),
            ("backsight_record_age_seconds_sum", {"stage": "rules"}, 3.0),
            ("backsight_record_age_seconds_count", {"stage": "rules"}, 30.0),
        ],
    }
    figures = summarise(samples)
    assert (figures.frames, figures.alerts) == (15, 2)
    assert (figures.cameras_up, figures.cameras) == (1, 2)
    assert figures.ages["rules"] == pytest.approx(0.1)
    assert figures.ages["router"] is None
    assert as_table(figures, {"ingest": "up", "rules": "up"}).row_count == 2


def test_warnings_of_a_stage_are_shown_once_and_only_new_ones(tmp_path: Path) -> None:
    log = tmp_path / "ingest.log"
    log.write_text('{"level": "warning", "event": "of_a_run_before", "stage": "ingest"}\n')
    warnings = LogWarnings(log)
    with log.open("a") as writing:
        writing.write('{"level": "info", "event": "camera_watching", "stage": "ingest"}\nTraceback: no JSON\n')
        writing.write(
            '{"level": "warning", "event": "camera_away", "stage": "ingest", "camera": "gate"}\n{"level": "err'
        )
        writing.flush()
        assert warnings.new() == ["ingest: camera away camera=gate"]
        writing.write('or", "event": "gone", "stage": "ingest"}\n')
        writing.flush()
    assert warnings.new() == ["ingest: gone"]
    assert warnings.new() == []

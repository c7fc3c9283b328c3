"""The broker goes away in the middle of a run and comes back, or does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.kafka import admin
from runtime.lifecycle import EXIT_BROKER, EXIT_OK
from runtime.provision import apply_topics
from schemas.topics import FRAMES
from tests.support.broker import read_all, running_broker
from tests.support.inference_stage import (
    Frames,
    await_all,
    inference_settings,
    read_events,
    running_stage,
    write_script,
)

pytestmark = [pytest.mark.slow, pytest.mark.kafka]
PREFIX = "away."


def test_a_broker_that_goes_away_and_returns_is_waited_for(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script.jsonl", ("yard_a", "gate"), 100, seconds=0.005)
    with running_broker() as broker:
        settings = inference_settings(broker.bootstrap, PREFIX, script)
        apply_topics(admin(settings.kafka), PREFIX, partitions=2)
        topic = FRAMES.full_name(PREFIX)
        frames = Frames(broker.bootstrap, topic)
        for seq in range(50):
            frames.send("yard_a", seq)
            frames.send("gate", seq)
        frames.flush()
        with running_stage(settings) as stage:
            read_events(broker.bootstrap, PREFIX, 20)
            broker.stop()
            broker.start()
            for seq in range(50, 100):
                frames.send("yard_a", seq)
                frames.send("gate", seq)
            frames.flush()
            events = await_all(broker.bootstrap, PREFIX, 200)
            assert stage.end() == EXIT_OK
        sent = [(each.partition(), each.offset()) for each in read_all(broker.bootstrap, topic)]
        # Where the group was lost meanwhile, what was not committed comes again: the first of each counts.
        found = list(dict.fromkeys((event.frame.partition, event.frame.offset) for _, event in events))
        assert found == sent, "every frame, and in order also across the gap"


def test_a_stage_that_is_stopped_while_the_broker_is_away_ends_and_says_what_is_left(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script.jsonl", ("yard_a",), 400, seconds=0.01)
    with running_broker() as broker:
        settings = inference_settings(broker.bootstrap, PREFIX, script)
        apply_topics(admin(settings.kafka), PREFIX, partitions=1)
        frames = Frames(broker.bootstrap, FRAMES.full_name(PREFIX))
        for seq in range(400):
            frames.send("yard_a", seq)
        frames.flush()
        with running_stage(settings) as stage:
            read_events(broker.bootstrap, PREFIX, 20)
            broker.stop()
            assert stage.end(40) == EXIT_BROKER
        broker.start()
        with running_stage(settings) as stage:
            events = await_all(broker.bootstrap, PREFIX, 400)
            assert stage.end() == EXIT_OK
        assert {event.seq for _, event in events} == set(range(400))

"""What Faust and aiokafka say again and again is said once a minute."""

import logging

import pytest

from rules import client_talk
from rules.client_talk import FoldedTalk


def record(name: str, text: str, *facts: object, trace: bool = False) -> logging.LogRecord:
    """A log record of that logger."""
    exception = (ValueError, ValueError("why"), None) if trace else None
    return logging.LogRecord(name, logging.ERROR, "x.py", 1, text, facts, exception)


def test_the_same_trouble_with_other_facts_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(client_talk.log, "warning", lambda _event, **facts: told.append(facts["said"]), raising=False)
    talk = FoldedTalk()
    for node in range(50):
        assert not talk.filter(record("aiokafka.conn", "no way to node %s", node))
    assert not talk.filter(record("aiokafka.conn", "something else"))
    assert told == ["no way to node 0", "something else"]


def test_our_own_lines_and_tracebacks_go_through() -> None:
    talk = FoldedTalk()
    assert talk.filter(record("rules.judge", "alert_opened"))
    assert talk.filter(record("faust.app", "crashed", trace=True))

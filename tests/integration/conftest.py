"""Commands that run in this process leave its logging as it is: structlog keeps loggers, and other tests read them."""

import pytest


@pytest.fixture(autouse=True)
def logs_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """`backsight replay …` would set the whole process's logging up."""
    monkeypatch.setattr("cli.replay.configure_logs", lambda _stage: None)

"""Traces without Kafka: what is recorded, what travels on, and nothing at all where they are off."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime.settings import Settings, load_settings
from runtime.tracing import Tracing, traceparent_of
from schemas.problems import BadDocument


class Recorded:
    """A `Tracing` that keeps its spans."""

    def __init__(self, ratio: float) -> None:
        self._kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracing = Tracing(ratio, provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._kept.get_finished_spans())


def test_a_span_hands_its_identity_on_and_keeps_its_times() -> None:
    recorded = Recorded(1)
    name, first = recorded.tracing.span("capture", 1000, 1040, None, camera="gate")
    assert name == "traceparent"
    recorded.tracing.span("infer", 1050, 1090, traceparent_of([("schema", b"x"), (name, first)]), camera="gate")
    capture, infer = recorded.spans
    assert infer.parent is not None
    assert (infer.parent.span_id, infer.parent.is_remote) == (capture.context.span_id, True)
    assert infer.context.trace_id == capture.context.trace_id
    assert (infer.start_time, infer.end_time) == (1_050_000_000, 1_090_000_000)
    assert capture.attributes == {"backsight.camera": "gate"}


def test_a_clock_that_is_behind_makes_no_span_that_ends_before_it_begins() -> None:
    recorded = Recorded(1)
    recorded.tracing.span("capture", 1000, 990, None)
    assert recorded.spans[0].end_time == recorded.spans[0].start_time


def test_what_was_not_sampled_is_made_of_the_times_in_the_headers() -> None:
    recorded = Recorded(0)
    headers = [("schema", b"detection-event/1"), ("produced_at", b"1040"), ("inferred_at", b"1090")]
    parent = recorded.tracing.looked_back("gate", 1000, headers)
    capture, infer = recorded.spans
    assert [(each.name, each.start_time, each.end_time) for each in recorded.spans] == [
        ("capture", 1_000_000_000, 1_040_000_000),
        ("infer", 1_040_000_000, 1_090_000_000),
    ]
    assert infer.parent is not None
    assert infer.parent.span_id == capture.context.span_id
    assert parent.split("-")[2] == f"{infer.context.span_id:016x}"


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_the_ratio_says_how_many(ratio: float) -> None:
    assert {Recorded(ratio).tracing.sampled() for _ in range(50)} == {ratio == 1}


def test_they_are_off_unless_asked_for(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}).trace_ratio is None
    assert Tracing.of(Settings(), "rules") is None
    assert load_settings(tmp_path, {"BACKSIGHT_TRACE_RATIO": "0.25"}).trace_ratio == 0.25
    with pytest.raises(BadDocument, match="BACKSIGHT_TRACE_RATIO"):
        load_settings(tmp_path, {"BACKSIGHT_TRACE_RATIO": "2"})

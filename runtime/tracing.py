"""Traces through Kafka headers, where BACKSIGHT_TRACE_RATIO asks for them; see docs/tracing.md.

A span is recorded when it has ended, and its identity (W3C `traceparent`) travels on in a header of the record that
came of it. A frame that is not sampled carries nothing and costs nothing; when it raises an alert all the same, its
spans are made then, from the times in the record's headers.
"""

import random
from collections.abc import Iterable
from typing import Any, Final

from runtime.settings import Settings

TRACEPARENT: Final = "traceparent"

Header = tuple[str, bytes]


def traceparent_of(headers: Iterable[tuple[str, bytes | None]] | None) -> str | None:
    """The identity of the span that a record came of; None where it was not sampled."""
    for name, value in headers or ():
        if name == TRACEPARENT and value is not None:
            return value.decode("ascii", "replace")
    return None


class Tracing:
    """Records the spans of one stage. ``provider`` is OpenTelemetry's, ``ratio`` the share of frames to sample."""

    def __init__(self, ratio: float, provider: Any) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._ratio = ratio
        self._tracer = provider.get_tracer("backsight")
        self._words = TraceContextTextMapPropagator()
        self._within = set_span_in_context
        self._kind = SpanKind.CONSUMER

    @classmethod
    def of(cls, settings: Settings, stage: str) -> "Tracing | None":
        """That of a process, with the exporter that the variables OTEL_… describe; None where traces are off."""
        if settings.trace_ratio is None:
            return None
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        # Whether to record is decided here, whatever OTEL_TRACES_SAMPLER says.
        provider = TracerProvider(ALWAYS_ON, Resource.create({"service.name": f"backsight-{stage}"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(settings.trace_ratio, provider)

    def sampled(self) -> bool:
        """Whether to record the next frame."""
        return random.random() < self._ratio  # noqa: S311 - which frames is no secret

    def span(self, name: str, began: float, ended: float, parent: str | None, **facts: str | int) -> Header:
        """Records what happened between two instants (ms UTC); the header for what came of it."""
        context = None if parent is None else self._words.extract({TRACEPARENT: parent})
        named = {f"backsight.{fact}": value for fact, value in facts.items()}
        span = self._tracer.start_span(name, context, self._kind, named, start_time=_ns(began))
        span.end(_ns(max(began, ended)))
        carrier: dict[str, str] = {}
        self._words.inject(carrier, self._within(span))
        return TRACEPARENT, carrier[TRACEPARENT].encode()

    def looked_back(self, camera: str, captured_at: int, headers: Iterable[tuple[str, bytes | None]] | None) -> str:
        """Records what was not sampled of a detection event, as its headers tell; the identity of the last span."""
        times = {
            name: int(value) for name, value in headers or () if name.endswith("_at") and value and value.isdigit()
        }
        produced = times.get("produced_at", captured_at)
        _, parent = self.span("capture", captured_at, produced, None, camera=camera)
        _, parent = self.span("infer", produced, times.get("inferred_at", produced), parent.decode(), camera=camera)
        return parent.decode()


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1_000_000)

"""The smallest shells around the engine: one in memory, and one that keeps rows and buckets and can be killed."""

from collections.abc import Iterable, Sequence

import msgspec
from hypothesis import strategies as st

from rules.engine import Document, Judged, compile_rules, step
from rules.state import (
    NEVER,
    NEW_CAMERA,
    REMEMBERED_MS,
    CameraState,
    Subject,
    SubjectState,
    camera_state,
    restored,
    row_of,
)
from schemas.messages import Alert, DetectionEvent
from tests.support.reference import Published

Bucket = tuple[Subject, int]
"""A subject and a second."""


class Documents:
    """A timeline of documents, each compiled once."""

    def __init__(self, timeline: Sequence[Published]) -> None:
        self._compiled = [
            (each.effective_from, compile_rules(each.rules, each.revision, each.effective_from)) for each in timeline
        ]

    def at(self, instant: int) -> Document | None:
        """The newest document that applies at this capture time."""
        applying = [document for effective_from, document in self._compiled if effective_from <= instant]
        return applying[-1] if applying else None


def judge_all(
    timeline: Sequence[Published], history: Iterable[DetectionEvent], state: CameraState = NEW_CAMERA
) -> tuple[list[Alert], CameraState]:
    """Every alert of the history, and the state after it."""
    documents = Documents(timeline)
    alerts: list[Alert] = []
    for event in history:
        judged = step(documents.at(event.captured_at), state, event)
        alerts += judged.alerts
        state = judged.state
    return alerts, state


class Tables:
    """Rows and buckets as two logs, each durable up to a point of its own, as Kafka's changelog topics are."""

    def __init__(self) -> None:
        self.rows: list[tuple[Subject, bytes]] = []
        self.buckets: list[tuple[Bucket, bytes | None]] = []
        self.rows_durable = 0
        self.buckets_durable = 0
        self._seconds: dict[Bucket, set[int]] = {}

    def write(self, judged: Judged, at: int) -> None:
        """What one event writes, in the order that `rules.state` asks for."""
        for subject in judged.changed:
            self.rows.append((subject, msgspec.json.encode(row_of(judged.state.subjects[subject]))))
        for subject in judged.remembered:
            self._put((subject, at // 1000), self._seconds.get((subject, at // 1000), set()) | {at})

    def sweep(self, state: CameraState) -> None:
        """Deletes garbage, having waited for every row."""
        self.rows_durable = len(self.rows)
        for subject, kept in state.subjects.items():
            times = [time for bucket, each in self._seconds.items() if bucket[0] == subject for time in each]
            oldest = max(kept.forget_before + 1, max(times, default=0) - REMEMBERED_MS)
            for bucket in [key for key, each in self._seconds.items() if key[0] == subject and max(each) < oldest]:
                self._put(bucket, None)

    def acknowledge(self, rows: int, buckets: int) -> None:
        """So many writes of each log are durable."""
        self.rows_durable = max(self.rows_durable, min(rows, len(self.rows)))
        self.buckets_durable = max(self.buckets_durable, min(buckets, len(self.buckets)))

    def kill(self) -> None:
        """What is not durable is lost. Deletions were sent after the rows they rely on were durable."""
        del self.rows[self.rows_durable :], self.buckets[self.buckets_durable :]
        self._seconds = {}
        for bucket, value in self.buckets:
            if value is None:
                self._seconds.pop(bucket, None)
            else:
                self._seconds[bucket] = set(msgspec.json.decode(value))

    def camera(self, watermark: int) -> CameraState:
        """The state read back."""
        rows = {subject: msgspec.json.decode(value, type=SubjectState) for subject, value in self.rows}
        subjects = {*rows, *(subject for subject, _ in self._seconds)}
        return camera_state(
            watermark,
            {
                subject: restored(
                    rows.get(subject),
                    [time for bucket, times in self._seconds.items() if bucket[0] == subject for time in times],
                )
                for subject in sorted(subjects)
            },
        )

    def _put(self, bucket: Bucket, times: set[int] | None) -> None:
        if times is None:
            del self._seconds[bucket]
            self.buckets.append((bucket, None))
        else:
            self._seconds[bucket] = times
            self.buckets.append((bucket, msgspec.json.encode(sorted(times))))


def judge_killed(
    timeline: Sequence[Published], history: Sequence[DetectionEvent], data: st.DataObject, kills: int
) -> tuple[list[Alert], CameraState]:
    """Judge the history in a shell that is killed ``kills`` times, at points and with losses that ``data`` draws.

    Answers every alert sent, repetitions included, and the state read back after the end.
    """
    documents = Documents(timeline)
    tables = Tables()
    sent: list[Alert] = []
    committed = 0
    for life in range(kills + 1):
        last = life == kills
        state = tables.camera(max((event.captured_at for event in history[:committed]), default=NEVER))
        dies_at = len(history) if last else data.draw(st.integers(committed, len(history)), label="dies at")
        positions: list[tuple[int, int, int]] = [(committed, len(tables.rows), len(tables.buckets))]
        for number in range(committed, dies_at):
            event = history[number]
            judged = step(documents.at(event.captured_at), state, event)
            sent += judged.alerts
            state = judged.state
            tables.write(judged, event.captured_at)
            positions.append((number + 1, len(tables.rows), len(tables.buckets)))
            if data.draw(st.integers(0, 3), label="sweeps") == 0:
                tables.sweep(state)
        if last:
            break
        if dies_at < len(history) and data.draw(st.booleans(), label="dies between alerts and writes"):
            event = history[dies_at]
            sent += step(documents.at(event.captured_at), state, event).alerts
        # Commits cover only what is durable in both logs; what is durable may run ahead of them, each by itself.
        committed, rows, buckets = data.draw(st.sampled_from(positions), label="committed")
        tables.acknowledge(rows, buckets)
        tables.acknowledge(
            data.draw(st.integers(rows, max(rows, len(tables.rows))), label="rows"),
            data.draw(st.integers(buckets, max(buckets, len(tables.buckets))), label="buckets"),
        )
        tables.kill()
    return sent, tables.camera(state.watermark)

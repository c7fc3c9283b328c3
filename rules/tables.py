"""The rules' state in two Faust tables, in the order of writing that `rules.state` asks for.

``hits`` is a windowed table: tumbling seconds of event time, the value a JSON list of the hit times in that second.
``episodes`` is a plain one: a row per subject. Both are keyed by camera, ROI and label, so that one camera's state lies
in the changelog partition of its events. Values are bytes, so that what is read back is what was written.
"""

from asyncio import Future
from collections import defaultdict
from typing import Any, Final

import msgspec

from rules.engine import Judged
from rules.faust_compat import FAUST_LOGGER, faust  # before anything else of Faust
from rules.state import REMEMBERED_MS, CameraState, Subject, SubjectState, camera_state, restored, row_of

SECOND_MS: Final = 1000

Key = tuple[str, str, str]
"""Camera, ROI, label."""

_encoder = msgspec.json.Encoder()
_row = msgspec.json.Decoder(SubjectState)
_times = msgspec.json.Decoder(list[int])


class AcknowledgedTable(faust.Table):
    """A table whose changelog records can be waited for, written to a partition that is said and not guessed.

    Faust keeps the future of a changelog record to itself, and takes the partition from the stream's current event.
    """

    logger = FAUST_LOGGER

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.partition = 0
        self.sent: list[Future[Any]] = []

    def partition_for_key(self, _key: Any) -> int:
        """Where the next record goes."""
        return self.partition

    def send_changelog(self, *arguments: Any, **named: Any) -> Any:
        """Sends as Faust does, and keeps the future in `sent`."""
        future = super().send_changelog(*arguments, **named)
        self.sent.append(future)
        return future


class RulesTables:
    """The two tables of an app. Reading goes over an index by camera, made after each recovery."""

    def __init__(self, app: Any) -> None:
        self._hits = self._add(app, "hits").tumbling(1.0).relative_to_stream()
        self._episodes = self._add(app, "episodes")
        self._rows_of: dict[str, list[Key]] = {}
        self._seconds_of: dict[str, list[tuple[Key, tuple[float, float]]]] = {}
        self._buckets: dict[str, dict[Subject, dict[int, list[int]]]] = {}
        self._garbage: dict[str, dict[Subject, Future[Any] | None]] = defaultdict(dict)

    @staticmethod
    def _add(app: Any, name: str) -> Any:
        table = AcknowledgedTable(
            app, name=name, beacon=app.tables.beacon, key_type=None, value_type=bytes, partitions=None, help=name
        )
        return app.tables.add(table)

    def read_back(self) -> None:
        """To be called when the tables were filled from their changelogs: forgets what was known of the cameras."""
        self._buckets.clear()
        self._garbage.clear()
        self._rows_of, self._seconds_of = defaultdict(list), defaultdict(list)
        for key in self._episodes.data.data:
            self._rows_of[key[0]].append(key)
        for key, seconds in self._hits.table.data.data:
            self._seconds_of[key[0]].append((key, seconds))

    def camera(self, camera_id: str, watermark: int) -> CameraState:
        """The camera's state as the tables have it."""
        rows = {
            Subject(roi, label): _row.decode(self._episodes.data.data[(camera, roi, label)])
            for camera, roi, label in self._rows_of.get(camera_id, ())
        }
        buckets: dict[Subject, dict[int, list[int]]] = defaultdict(dict)
        for key, seconds in self._seconds_of.get(camera_id, ()):
            times = _times.decode(self._hits.table.data.data[(key, seconds)])
            buckets[Subject(key[1], key[2])][int(seconds[0])] = times
        self._buckets[camera_id] = buckets
        self._garbage[camera_id] = dict.fromkeys(buckets)
        subjects = {
            subject: restored(rows.get(subject), (time for times in buckets[subject].values() for time in times))
            for subject in dict.fromkeys([*rows, *list(buckets)])
        }
        return camera_state(watermark, subjects)

    def write(self, camera_id: str, partition: int, captured_at: int, judged: Judged) -> list[Future[Any]]:
        """Writes what one event changed, and removes the camera's garbage; answers the changelog records to wait for.

        To be called after the alerts were acknowledged, without an ``await`` since the last look at who owns it.
        """
        hits, episodes, garbage = self._hits.table, self._episodes, self._garbage[camera_id]
        hits.partition = episodes.partition = partition
        subjects = judged.state.subjects
        for subject in judged.changed:
            episodes[(camera_id, *subject)] = _encoder.encode(row_of(subjects[subject]))
            garbage[subject] = episodes.sent[-1]
        for subject in judged.remembered:
            second = captured_at // SECOND_MS
            times = self._buckets[camera_id][subject].get(second, [])
            if captured_at not in times:
                times = sorted([*times, captured_at])
            self._buckets[camera_id][subject][second] = times
            hits._set_windowed((camera_id, *subject), _encoder.encode(times), float(second))
            garbage.setdefault(subject, None)
        for subject in [subject for subject, row in garbage.items() if row is None or _acknowledged(row)]:
            self._sweep(camera_id, subject, subjects.get(subject))
            del garbage[subject]
        sent = [*hits.sent, *episodes.sent]
        hits.sent.clear()
        episodes.sent.clear()
        return sent

    def _sweep(self, camera_id: str, subject: Subject, state: SubjectState | None) -> None:
        """Deletes the subject's seconds in which no time counts any more. Its rows are acknowledged."""
        buckets = self._buckets[camera_id][subject]
        if not buckets or state is None:
            return
        newest = max(max(times) for times in buckets.values())
        oldest = max(state.forget_before + 1, newest - REMEMBERED_MS)
        table = self._hits.table
        for second in [second for second, times in buckets.items() if max(times) < oldest]:
            del buckets[second]
            del table[((camera_id, *subject), table.window.current(float(second)))]


def _acknowledged(row: Future[Any]) -> bool:
    return row.done() and not row.cancelled() and row.exception() is None

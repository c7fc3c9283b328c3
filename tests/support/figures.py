"""What an experiment's tests show beyond that they passed; `make chaos-router` reads it from their report."""

from collections.abc import Callable, Sequence

from router.lanes import Ended
from tests.support.receiver import Receiver

Record = Callable[[str, object], None]
"""Pytest's fixture `record_property`."""


def show(
    record: Record, alerts: int, ends: Sequence[Ended], *, receiver: Receiver | None = None, times: str = ""
) -> None:
    """``alerts`` were told; those without an end are lost; what the receiver took more than once is doubled."""
    record("alerts", alerts)
    record("lost", alerts - len({end.notice.delivery_id for end in ends}))
    if receiver is not None:
        taken = [got.delivery_id for got in receiver.taken]
        record("doubled", len(taken) - len(set(taken)))
    if times:
        record("times", times)

"""The list of alerts: what it holds, in which order, and how it is paged."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from evidence.index import AlertIndex, Asked, alert_of
from schemas.messages import Alert, Delivery, Mark
from tests.support.alerts import OPENED_AT, opened, resolved


def index_of(*alerts: Alert, most: int = 100) -> AlertIndex:
    index = AlertIndex(most)
    for alert in alerts:
        index.take(alert)
    return index


def ids(index: AlertIndex, asked: Asked = Asked(), limit: int = 100) -> list[str]:  # noqa: B008 - a value
    return [entry.alert.alert_id for entry in index.page(asked, limit).entries]


def delivery(alert: Alert, sink: str = "webhook", outcome: str = "delivered") -> Delivery:
    return Delivery(f"{alert.alert_id}_{alert.seq}", sink, outcome, 1, 1, 2, None)


def test_the_newest_opening_comes_first():
    first, second, third = (opened(number) for number in range(3))
    assert ids(index_of(second, third, first)) == [third.alert_id, second.alert_id, first.alert_id]


def test_an_alert_is_one_entry_in_its_newest_phase_whatever_comes_twice():
    alert = opened()
    index = index_of(alert, resolved(alert), alert)
    assert len(index) == 1
    assert index.get(alert.alert_id).alert.phase == "resolved"


def test_filters_narrow_the_list():
    alerts = [
        opened(0, camera="gate"),
        opened(1, camera="dock"),
        opened(2, camera="gate", roi="ramp"),
        structs.replace(opened(3, camera="gate"), label="person", severity="info"),
    ]
    index = index_of(*alerts, resolved(alerts[2]))
    newest_first = [alert.alert_id for alert in reversed(alerts)]
    assert ids(index) == newest_first
    for asked, numbers in (
        (Asked(camera="gate"), [3, 2, 0]),
        (Asked(roi="ramp"), [2]),
        (Asked(label="person"), [3]),
        (Asked(severity="critical"), [2, 1, 0]),
        (Asked(open=True), [3, 1, 0]),
        (Asked(open=False), [2]),
        (Asked(since=OPENED_AT + 1000, until=OPENED_AT + 2000), [2, 1]),
        (Asked(camera="gate", open=True, until=OPENED_AT), [0]),
        (Asked(camera="nowhere"), []),
    ):
        assert ids(index, asked) == [alerts[number].alert_id for number in numbers], asked


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(1, 7), st.booleans())
def test_pages_one_after_the_other_are_the_whole_list_also_while_it_grows(seconds, limit, grows):
    alerts = [opened(at, camera=f"cam{number}") for number, at in enumerate(seconds)]
    index = index_of(*alerts)
    whole = ids(index)
    keys = {alert.alert_id: (alert.opened_at, alert.alert_id) for alert in alerts}
    assert whole == sorted(keys, key=keys.get, reverse=True)
    paged, below = [], None
    while True:
        page = index.page(Asked(), limit, below)
        paged += [entry.alert.alert_id for entry in page.entries]
        if page.next is None:
            break
        assert len(page.entries) == limit
        below = page.next
        if grows:
            index.take(opened(1000 + len(index)))
    assert paged == whole


def test_deliveries_and_marks_stand_beside_their_alert_the_newest_of_each():
    alert = opened()
    index = index_of(alert, resolved(alert))
    for each in (
        delivery(alert),
        delivery(alert, "chat", "expired"),
        delivery(alert, "chat"),
        delivery(resolved(alert)),
    ):
        index.take_delivery(each)
    index.take_mark(Mark(alert.alert_id, True, 1, "ana"))
    index.take_mark(Mark(alert.alert_id, False, 2, "ben"))
    entry = index.get(alert.alert_id)
    assert [(each.sink, each.delivery_id[-1], each.outcome) for each in entry.deliveries] == [
        ("webhook", "0", "delivered"),
        ("chat", "0", "delivered"),
        ("webhook", "1", "delivered"),
    ]
    assert entry.mark == Mark(alert.alert_id, False, 2, "ben")


def test_what_is_said_of_an_alert_that_is_not_known_is_let_go():
    index = index_of()
    index.take_delivery(delivery(opened()))
    index.take_mark(Mark(opened().alert_id, True, 1, "ana"))
    assert len(index) == 0
    assert index.get(opened().alert_id) is None


def test_a_delivery_told_again_is_one_of_the_same_alert():
    assert alert_of(f"{opened().alert_id}_0_r2") == opened().alert_id


def test_beyond_the_bound_the_oldest_go():
    alerts = [opened(number) for number in range(5)]
    index = index_of(*alerts, most=3)
    assert ids(index) == [alert.alert_id for alert in alerts[:1:-1]]
    assert index.get(alerts[0].alert_id) is None


def test_what_opened_before_an_instant_is_forgotten():
    alerts = [opened(number) for number in range(3)]
    index = index_of(*alerts)
    index.forget(OPENED_AT + 1000)
    assert ids(index) == [alerts[2].alert_id, alerts[1].alert_id]
    assert index.get(alerts[0].alert_id) is None

"""The router on a real broker with a real receiver: what arrives, what is on record, what a restart does."""

import json
import subprocess
import time

import pytest

from router.delivery_log import DeliveryLog
from runtime.kafka import TopicPartition, consumer, deliver
from runtime.lifecycle import EXIT_BROKER, EXIT_CONFIG, EXIT_FAULT, EXIT_OK
from schemas.codec import encode, schema_header
from schemas.messages import Alert, delivery_id
from schemas.topics import ALERTS, DEAD_LETTERS
from tests.support.alerts import opened, record_of, resolved
from tests.support.broker import committed_offsets, read_all, settings
from tests.support.receiver import Receiver, Reset, Slow, Status
from tests.support.routing import (
    RouterThread,
    alert_writer,
    deliveries,
    router_process,
    router_settings,
    router_thread,
    write_alerts,
)

pytestmark = pytest.mark.usefixtures("topics")


def now() -> int:
    return round(time.time() * 1000)


def story(count: int, cameras: int = 5) -> list[Alert]:
    """``count`` alerts of some cameras, each opened and resolved, all of the last minutes."""
    start = now() - 600_000
    alerts: list[Alert] = []
    for number in range(count):
        first = opened(number, camera=f"cam_{number % cameras}", at=start)
        alerts += [first, resolved(first, after_ms=500)]
    return alerts


def committed(bootstrap: str, prefix: str, sink: str) -> int:
    """The sum of the group's committed offsets: how many alerts it has finished for good."""
    return sum(committed_offsets(bootstrap, f"{prefix}router.{sink}", ALERTS.full_name(prefix)).values())


def test_every_alert_arrives_once_with_its_id_and_its_outcome_is_on_record(bootstrap, prefix):
    alerts = story(20)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    with Receiver() as receiver:
        with router_thread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)) as router:
            receiver.wait_for(len(alerts))
        assert router.code == EXIT_OK
    expected = {delivery_id(alert) for alert in alerts}
    assert sorted(receiver.ids) == sorted(expected)
    for alert in alerts:
        if alert.seq == 0:
            assert receiver.ids.index(f"{alert.alert_id}_0") < receiver.ids.index(f"{alert.alert_id}_1")
    ended = deliveries(bootstrap, prefix)
    assert {each.delivery_id for each in ended} == expected
    assert {(each.sink, each.outcome, each.reason, each.attempts) for each in ended} == {
        ("webhook", "delivered", "accepted", 1)
    }
    assert committed(bootstrap, prefix, "webhook") == len(alerts)


def test_a_restart_neither_repeats_nor_forgets(bootstrap, prefix):
    alerts = story(10)
    writer = alert_writer(bootstrap)
    with Receiver() as receiver:
        told = router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)
        write_alerts(writer, prefix, alerts[:10])
        with router_thread(told):
            receiver.wait_for(10)
        write_alerts(writer, prefix, alerts[10:])
        write_alerts(writer, prefix, alerts[:4])  # the rules crashed and judged again
        with router_thread(told):
            receiver.wait_for(20)
        write_alerts(writer, prefix, alerts)
        with router_thread(told):
            last = opened(99, at=now() - 200_000)
            write_alerts(writer, prefix, [last])
            receiver.wait_for(21)
    assert sorted(receiver.ids) == sorted([*map(delivery_id, alerts), delivery_id(last)])


def test_an_outcome_is_found_again_though_nothing_was_committed(bootstrap, prefix):
    alerts = story(5)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    with Receiver() as receiver:
        told = router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)
        with router_thread(told):
            receiver.wait_for(10)
        # As after a crash between the outcome and the commit: the group begins at the beginning again.
        rewind = consumer(settings(bootstrap), f"{prefix}router.webhook", "test-rewinds")
        topic = ALERTS.full_name(prefix)
        numbers = rewind.list_topics(topic, timeout=10).topics[topic].partitions
        rewind.commit(offsets=[TopicPartition(topic, number, 0) for number in numbers], asynchronous=False)
        rewind.close()
        assert committed(bootstrap, prefix, "webhook") == 0
        with router_thread(told):
            last = opened(99, at=now() - 200_000)
            write_alerts(alert_writer(bootstrap), prefix, [last])
            receiver.wait_for(11)
    assert len(set(receiver.ids)) == len(receiver.ids) == 11


def test_an_alert_that_waits_holds_back_the_committed_offset_and_no_other_alert(bootstrap, prefix):
    stubborn, *others = [opened(number, camera="cam_0", at=now() - 600_000) for number in range(6)]

    class Stubborn(Status):
        def answer(self, write, receiver):
            of = receiver.got[-1]
            Status(503 if of.delivery_id == delivery_id(stubborn) and not mended else 200).answer(write, receiver)

    mended: list[bool] = []
    write_alerts(alert_writer(bootstrap), prefix, [stubborn, *others])
    with Receiver([Stubborn()]) as receiver:
        told = router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)
        with router_thread(told):
            receiver.wait_until(lambda: {delivery_id(each) for each in others} <= set(receiver.ids))
        assert committed(bootstrap, prefix, "webhook") == 0
        mended.append(True)
        before = len(receiver.got)
        with router_thread(told):
            receiver.wait_for(before + 1)
        assert receiver.ids[before:] == [delivery_id(stubborn)]
    assert committed(bootstrap, prefix, "webhook") == 6


def test_a_drained_stop_waits_for_the_attempt_under_way_and_sends_nothing_twice(bootstrap, prefix):
    alerts = story(3)
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    with Receiver([Slow(1.0)]) as receiver:
        told = router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)
        with router_thread(told):
            receiver.wait_for(3)  # the three openings are under way, their resolves wait for them
        receiver.habits = [Status()]
        with router_thread(told):
            receiver.wait_for(6)
    assert sorted(receiver.ids) == sorted(map(delivery_id, alerts))


def test_what_is_refused_or_too_old_goes_to_the_dead_letters_and_the_rest_goes_on(bootstrap, prefix):
    refused, fine, old = opened(0, at=now() - 60_000), opened(1, at=now() - 60_000), opened(2, at=now() - 7_200_000)
    write_alerts(alert_writer(bootstrap), prefix, [refused, old, fine])

    class Picky(Status):
        def answer(self, write, receiver):
            Status(422 if receiver.got[-1].delivery_id == delivery_id(refused) else 200).answer(write, receiver)

    with Receiver([Picky()]) as receiver:
        told = router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url, max_age_seconds=3600)
        with router_thread(told):
            receiver.wait_for(2)
        assert sorted(receiver.ids) == sorted([delivery_id(refused), delivery_id(fine)])
    outcomes = {each.delivery_id: (each.outcome, each.reason, each.attempts) for each in deliveries(bootstrap, prefix)}
    assert outcomes == {
        delivery_id(refused): ("refused", "rejected", 1),
        delivery_id(fine): ("delivered", "accepted", 1),
        delivery_id(old): ("expired", "too_old", 0),
    }
    letters = read_all(bootstrap, DEAD_LETTERS.full_name(prefix))
    assert {(letter.value(), dict(letter.headers())["reason"]) for letter in letters} == {
        (encode(refused), b"rejected"),
        (encode(old), b"too_old"),
    }
    headers = dict(next(letter.headers() for letter in letters if letter.value() == encode(refused)))
    assert headers["stage"] == b"router.webhook"
    assert headers["attempts"] == b"1"
    assert headers["origin_topic"] == ALERTS.full_name(prefix).encode()


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(bootstrap, prefix):
    writer = alert_writer(bootstrap)
    topic = ALERTS.full_name(prefix)
    key, value, headers = record_of(opened())
    deliver(writer, topic, key=key, value=b"{not json", headers=headers)
    deliver(writer, topic, key=key, value=value, headers=[("schema", b"alert/2")])
    deliver(writer, topic, key=key, value=b"", headers=headers)
    fine = opened(at=now())
    write_alerts(writer, prefix, [fine])
    with (
        Receiver() as receiver,
        router_thread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)),
    ):
        receiver.wait_for(1)
    assert receiver.ids == [delivery_id(fine)]
    letters = read_all(bootstrap, DEAD_LETTERS.full_name(prefix))
    found = sorted((dict(letter.headers())["reason"], letter.value()) for letter in letters)
    assert found == [(b"bad_value", b"{not json"), (b"empty", b""), (b"unknown_schema", value)]
    assert committed(bootstrap, prefix, "webhook") == 4


def test_many_undecodable_alerts_in_a_row_stop_the_router(bootstrap, prefix):
    writer = alert_writer(bootstrap)
    topic = ALERTS.full_name(prefix)
    for _ in range(100):
        writer.produce(topic, key="cam", value=b"{}", headers=[schema_header(Alert)])
    writer.flush(30)
    router = RouterThread(router_settings(bootstrap, prefix))
    router.start()
    assert router.join() == EXIT_FAULT


def test_two_routers_share_the_alerts_and_one_that_leaves_hands_its_part_over(bootstrap, prefix):
    writer = alert_writer(bootstrap)
    alerts = story(30, cameras=9)
    with Receiver([Slow(0.02)]) as receiver:
        told = router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)
        with router_thread(told):
            write_alerts(writer, prefix, alerts[:20])
            second = RouterThread(told)
            second.start()
            write_alerts(writer, prefix, alerts[20:40])
            receiver.wait_for(40)
            assert second.drain() == EXIT_OK
            write_alerts(writer, prefix, alerts[40:])
            receiver.wait_for(60)
    assert sorted(receiver.ids) == sorted(map(delivery_id, alerts))
    assert committed(bootstrap, prefix, "webhook") == 60


def test_a_receiver_in_trouble_is_tried_again_under_one_id_and_not_before_it_asks(bootstrap, prefix):
    alert = opened(at=now() - 1000)
    write_alerts(alert_writer(bootstrap), prefix, [alert])
    with (
        Receiver([Status(429, retry_after="2"), Reset(), Status(503), Status(201)]) as receiver,
        router_thread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url=receiver.url)),
    ):
        got = receiver.wait_for(4)
    assert receiver.ids == [delivery_id(alert)] * 4
    assert got[1].at - got[0].at >= 2
    (ended,) = deliveries(bootstrap, prefix)
    assert (ended.outcome, ended.attempts) == ("delivered", 4)
    assert ended.last_attempt_at - ended.first_attempt_at >= 2000


def test_a_setting_that_does_not_check_and_a_broker_that_is_not_there_have_exit_codes_of_their_own(bootstrap, prefix):
    router = RouterThread(router_settings(bootstrap, prefix, protocol="webhook", webhook_url="ftp://host/"))
    router.start()
    assert router.join() == EXIT_CONFIG
    missing = RouterThread(router_settings(bootstrap, f"{prefix}other."))
    missing.start()
    assert missing.join() == EXIT_BROKER


def test_piped_stdout_is_the_exact_alerts_and_only_they(bootstrap, prefix):
    alerts = story(3, cameras=1)
    router = router_process(bootstrap, prefix, stdout=subprocess.PIPE)
    try:
        assert router.stdout is not None
        write_alerts(alert_writer(bootstrap), prefix, alerts)
        lines = [router.stdout.readline() for _ in alerts]
        assert lines == [encode(alert) + b"\n" for alert in alerts]
        router.terminate()
        assert router.wait(30) == EXIT_OK
        assert router.stdout.read() == b""
    finally:
        router.kill()
        router.wait()
        router.stdout.close()
    assert len(deliveries(bootstrap, prefix)) == 6


def test_an_alert_that_nobody_read_from_the_pipe_is_printed_by_the_next_router(bootstrap, prefix):
    alerts = story(1, cameras=1)
    router = router_process(bootstrap, prefix, stdout=subprocess.PIPE)
    assert router.stdout is not None
    router.stdout.close()
    write_alerts(alert_writer(bootstrap), prefix, alerts)
    assert router.wait(30) == EXIT_FAULT
    router = router_process(bootstrap, prefix, stdout=subprocess.PIPE)
    try:
        assert router.stdout is not None
        assert [json.loads(router.stdout.readline())["seq"] for _ in alerts] == [0, 1]
    finally:
        router.terminate()
        router.wait(30)
        router.stdout.close()


def test_the_log_of_deliveries_reaches_back_as_far_as_the_oldest_alert_asked_for(bootstrap, prefix):
    recent, old = opened(at=now() - 60_000), opened(at=now() - 5 * 86_400_000)
    with Receiver() as receiver:
        told = router_settings(
            bootstrap, prefix, protocol="webhook", webhook_url=receiver.url, max_age_seconds=30 * 86_400
        )
        write_alerts(alert_writer(bootstrap), prefix, [recent, old])
        with router_thread(told):
            receiver.wait_for(2)
    log = DeliveryLog(settings(bootstrap), prefix, "webhook", "test-log")
    try:
        for alert in (recent, old):
            assert log.has(delivery_id(alert), alert.opened_at)
            assert not log.has(f"{alert.alert_id}_1", alert.opened_at)
        small = DeliveryLog(settings(bootstrap), prefix, "webhook", "test-log", most=1)
        assert small.has(delivery_id(old), old.opened_at)
        small.add("x_0", now())  # makes it forget the older half
        assert small.has(delivery_id(recent), recent.opened_at), "what was let go is read again"
        small.close()
        other = DeliveryLog(settings(bootstrap), prefix, "stdout", "test-log")
        assert not other.has(delivery_id(recent), recent.opened_at), "another sink's deliveries are not ours"
        other.close()
    finally:
        log.close()

"""What the sink `mqtt` publishes: names of topics, states, Home Assistant's descriptions."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.mqtt.discovery import Sensor, config_payload, config_topic
from router.mqtt.states import State, States
from router.mqtt.topics import Place, Topics, level, wrong_prefix
from tests.support.alerts import opened, resolved

TOPICS = Topics("plant/backsight")
PLACE = Place("gate", "dock + #1/2")

names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(names, names)
def test_any_name_is_one_level_and_reads_back(camera, roi):
    topic = TOPICS.state(Place(camera, roi))
    assert topic.count("/") == 4
    assert not set("+#") & set(topic)
    assert topic.isprintable()
    assert TOPICS.place(topic) == (camera, roi)


def test_names_stay_readable():
    assert level("Einfahrt Süd") == "Einfahrt Süd"
    assert level("a+b#c/d%") == "a%2Bb%23c%2Fd%25"
    assert TOPICS.state(PLACE) == "plant/backsight/gate/dock %2B %231%2F2/state"


@pytest.mark.parametrize(
    "topic", ["plant/backsight/events", "plant/backsight/a/b/events", "a/b/state", "plant/x/a/state"]
)
def test_other_topics_are_no_places(topic):
    assert TOPICS.place(topic) is None


@pytest.mark.parametrize("prefix", ["", "/", "a//b", "a/", "/a", "$SYS", "a/+", "#", "a\0b"])
def test_a_prefix_that_no_topic_may_begin_with_is_refused(prefix):
    assert wrong_prefix(prefix) is not None


def state(states: States, place: Place) -> State:
    return msgspec.json.decode(states.payload(place), type=State)


def test_a_place_is_on_while_any_of_its_alerts_is_open():
    states = States("one")
    first, second = opened(0), msgspec.structs.replace(opened(1), label="person", severity="warning")
    place = states.tell(first, 10)
    assert (state(states, place).state, state(states, place).labels) == ("ON", ("object",))
    states.tell(second, 20)
    assert state(states, place).labels == ("object", "person")
    assert state(states, place).severity == "critical"
    states.tell(resolved(first), 30)
    assert (state(states, place).labels, state(states, place).severity) == (("person",), "warning")
    states.tell(resolved(second), 40)
    assert state(states, place) == State("OFF", (), None, (), 40, "one")


def test_telling_again_changes_nothing():
    states = States("one")
    alert = opened()
    place = states.tell(alert, 10)
    before = states.payload(place)
    states.tell(alert, 10)
    assert states.payload(place) == before
    states.tell(resolved(alert), 10)
    ended = states.payload(place)
    states.tell(resolved(alert), 10)
    assert states.payload(place) == ended
    states.tell(alert, 10)  # a dead letter that a person delivers after all
    assert states.payload(place) == ended


def test_what_a_router_before_us_left_open_is_known():
    before, states = States("before"), States("now")
    left, fresh = opened(0), opened(1)
    place = before.tell(left, 10)
    assert not states.hear(place, before.payload(place), retained=True)
    states.tell(fresh, 20)
    assert [each.alert_id for each in state(states, place).alerts] == [left.alert_id, fresh.alert_id]
    states.tell(resolved(left), 30)
    assert [each.alert_id for each in state(states, place).alerts] == [fresh.alert_id]


def test_what_is_read_back_late_is_added_and_told():
    before, states = States("before"), States("now")
    left, ended, fresh = opened(0), opened(1), opened(2)
    before.tell(left, 10)
    place = before.tell(ended, 10)
    states.tell(fresh, 20)
    states.tell(resolved(ended), 20)
    assert states.hear(place, before.payload(place), retained=True)
    assert [each.alert_id for each in state(states, place).alerts] == [left.alert_id, fresh.alert_id]
    assert not states.hear(place, before.payload(place), retained=True)


def test_another_router_that_tells_a_place_now_is_right():
    ours, theirs = States("ours"), States("theirs")
    alert = opened()
    place = ours.tell(alert, 10)
    theirs.hear(place, ours.payload(place), retained=True)
    theirs.tell(resolved(alert), 20)
    assert not ours.hear(place, theirs.payload(place), retained=False)
    assert place not in ours.told
    ours.tell(opened(5), 30)
    assert len(state(ours, place).alerts) == 1


def test_our_own_word_and_nonsense_change_nothing():
    states = States("ours")
    place = states.tell(opened(), 10)
    old = states.payload(place)
    states.tell(resolved(opened()), 20)
    for payload in (old, b"", b"ON", b"[]", b'{"state": "ON"}'):
        assert not states.hear(place, payload, retained=True)
        assert not states.hear(place, payload, retained=False)
    assert state(states, place).state == "OFF"


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_a_state_is_the_alerts_that_were_opened_and_not_resolved(steps):
    states = States("one")
    there: set[str] = set()
    ended: set[str] = set()
    place = Place("cam_nave3_hornos", "loading_zone")
    for now, (number, opens) in enumerate(steps):
        alert = opened(number)
        states.tell(alert if opens else resolved(alert), now)
        if not opens:
            ended.add(alert.alert_id)
        there = (there | {alert.alert_id} if opens else there) - ended
        assert {each.alert_id for each in state(states, place).alerts} == there
        assert state(states, place).state == ("ON" if there else "OFF")


@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_every_sensor_has_a_topic_of_its_own_of_letters_that_home_assistant_takes(one, other):
    topics = [config_topic("homeassistant", TOPICS, Sensor(Place(*each[:2]), each[2])) for each in (one, other)]
    assert (topics[0] == topics[1]) == (one == other)
    for topic in topics:
        assert re.fullmatch(r"homeassistant/binary_sensor/backsight/[A-Za-z0-9_-]+/config", topic)


def test_a_sensor_is_described():
    found = json.loads(config_payload(TOPICS, Sensor(PLACE, "person")))
    assert found["state_topic"] == TOPICS.state(PLACE)
    assert found["value_template"] == "{{ 'ON' if \"person\" in value_json.labels else 'OFF' }}"
    assert found["availability_topic"] == "plant/backsight/status"
    assert (found["name"], found["device"]["name"]) == ("dock + #1/2 person", "gate")
    other = json.loads(config_payload(TOPICS, Sensor(PLACE, "dog")))
    assert other["device"] == found["device"]
    assert other["unique_id"] != found["unique_id"]


@given(st.text(max_size=20), st.text(max_size=20))
def test_the_template_says_on_for_its_label_and_no_other(label, other):
    from jinja2.sandbox import SandboxedEnvironment

    template = json.loads(config_payload(TOPICS, Sensor(PLACE, label)))["value_template"]
    says = SandboxedEnvironment().from_string(template)
    assert says.render(value_json={"labels": [label, other]}) == "ON"
    assert says.render(value_json={"labels": [other]}) == ("ON" if label == other else "OFF")

"""The table of who may do what in Kafka."""

import pytest

from schemas.grants import SERVICES, Grant, grants, reader_grants
from schemas.topics import (
    ALERTS,
    DETECTIONS,
    FRAMES,
    MARKS,
    ROI_REVISIONS,
    RULES_EPISODES,
    RULES_HITS,
    SILENCES,
    TOPICS,
)

BY_NAME = {service.name: service for service in SERVICES}
STAGES = ("ingest", "inference", "rules", "router", "evidence", "api")


def who(operation, topic):
    """The stages that may do it to the topic."""
    wanted = Grant("topic", topic.name, "literal", operation)
    return {name for name in STAGES if wanted in grants(BY_NAME[name])}


@pytest.mark.parametrize(
    ("topic", "writers", "readers"),
    [
        (FRAMES, {"ingest"}, {"ingest", "inference", "evidence", "api"}),
        (DETECTIONS, {"inference"}, {"rules", "router"}),
        (ALERTS, {"rules"}, {"router", "evidence", "api"}),
        (ROI_REVISIONS, {"api"}, {"inference", "rules", "evidence", "api"}),
        (RULES_HITS, {"rules"}, {"rules"}),
        (RULES_EPISODES, {"rules"}, {"rules"}),
        (SILENCES, {"api"}, {"router", "api"}),
        (MARKS, {"api"}, {"api"}),
    ],
)
def test_who_writes_and_reads_a_topic(topic, writers, readers):
    assert who("write", topic) == writers
    assert who("read", topic) == readers


def test_every_topic_is_somebody_s_and_no_stage_may_change_one():
    for topic in TOPICS:
        assert any(topic in service.writes or topic in service.reads for service in SERVICES), topic.name
    for name in STAGES:
        assert {each.operation for each in grants(BY_NAME[name])} <= {"read", "write", "describe"}


def test_a_prefix_begins_every_topic_and_group():
    for service in SERVICES:
        for each in grants(service, "site1."):
            assert each.name.startswith("site1.") or each == Grant("group", "backsight-", "prefixed", "read"), each


def test_only_the_router_s_groups_and_those_of_nobody_are_granted_by_their_beginning():
    prefixed = {each.name for name in STAGES for each in grants(BY_NAME[name]) if each.pattern == "prefixed"}
    assert prefixed == {"router.", "backsight-"}


def test_a_reader_reads_two_topics_in_groups_of_its_own():
    assert reader_grants("bi") == {
        Grant("topic", "detections", "literal", "read"),
        Grant("topic", "alerts", "literal", "read"),
        Grant("group", "bi", "literal", "read"),
        Grant("group", "bi.", "prefixed", "read"),
    }

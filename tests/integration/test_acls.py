"""Kafka over SASL_SSL with SCRAM-SHA-512 and ACLs: the whole pipeline, each stage as its own principal."""

import subprocess
import sys
import time
from contextlib import ExitStack

import cv2
import httpx
import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from demos.yard import Yard
from runtime.acls import allowed
from runtime.kafka import BrokerUnreachable, KafkaError, KafkaException, admin, consumer, deliver, wait_for_broker
from runtime.kafka import producer as producer_of
from runtime.settings import KafkaSettings
from schemas.grants import SERVICES, grants
from schemas.topics import ALERTS, DETECTIONS, FRAMES, ROI_REVISIONS, TOPICS
from tests.support.broker import settings
from tests.support.pipeline import environment, running, until
from tests.support.secured import secured_broker, untrusted
from tests.support.servers import free_port

pytestmark = pytest.mark.kafka
STAGES = {
    "ingest": ["ingest"],
    "inference": ["inference"],
    "rules": ["rules", "run"],
    "router": ["router"],
    "evidence": ["evidence"],
    "api": ["api"],
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


def command(secured, service, *arguments, **more):
    """`backsight ARGUMENTS` as the service, or as whoever administers the cluster."""
    told = {"KAFKA_BOOTSTRAP_SERVERS": secured.plain} if service is None else dict(more.pop("environ"))
    return CliRunner().invoke(main, arguments, env={**told, **more})


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """A camera that sees an object all the time, and a ROI that is the whole picture."""
    folder = tmp_path_factory.mktemp("configs")
    pictures = folder / "pictures"
    pictures.mkdir()
    yard = Yard(seed=7, camera="cam_a", width=640, height=360, night=False)
    count = 0
    for at in range(0, 600_000, 1000):
        picture, truths = yard.at(at)
        if any(truth.label == "object" and truth.visible > 0.9 for truth in truths):
            cv2.imwrite(str(pictures / f"{count}.png"), picture)
            count += 1
        if count == 5:
            break
    camera = {"id": "cam_a", "url": str(pictures), "loop": True, "fps_target": 5}
    roi = {"name": "all", "units": "fractions", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}
    rois = {"camera_id": "cam_a", "forbidden_rois": [roi], "alert_classes": ["object"]}
    (folder / "cameras.yaml").write_text(yaml.safe_dump({"cameras": [camera]}))
    (folder / "rois.yaml").write_text(yaml.safe_dump({"cameras": [rois]}))
    return folder


@pytest.mark.slow
def test_the_whole_pipeline_runs_with_what_the_table_grants_and_nobody_is_refused(secured, configs, tmp_path):
    port = free_port()
    more = {
        "BACKSIGHT_CONFIGS": str(configs),
        "INFERENCE_DEVICE": "cpu",
        "PICTURE_MEMORY_URL": str(tmp_path / "pictures"),
        "EVIDENCE_URL": str(tmp_path / "evidence"),
        "API_TOKENS_FILE": str(tmp_path / "tokens.json"),
        "API_PORT": str(port),
    }
    applied = subprocess.run(
        [sys.executable, "-m", "cli.main", "config", "apply"],
        env={**environment(None, **more), **secured.environ("config", tmp_path)}, capture_output=True, timeout=60,
    )  # fmt: skip
    assert applied.returncode == 0, applied.stderr
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(
                running(arguments, environment(None, **more, **secured.environ(name, tmp_path)), tmp_path / name)
            )
            for name, arguments in STAGES.items()
        }

        def logs():
            return "\n".join(f"--- {name}\n{stage.stderr[-3000:]}" for name, stage in started.items())

        until(lambda: '"phase":"opened"' in started["router"].stdout.replace(" ", ""), 240, "an alert is told", logs)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as api:
            until(lambda: api.get("/alerts").json()["alerts"], 30, "the API lists it", logs)
            alert = api.get("/alerts").json()["alerts"][0]
            until(lambda: api.get(alert["evidence"]).status_code == 200, 30, "its picture is kept", logs)
            marked = api.post(f"/alerts/{alert['alert_id']}/mark", json={"true": True})
            assert marked.status_code == 200, marked.text
            silenced = api.post("/silences", json={"matchers": ["roi = all"], "for": "1h", "comment": "a test"})
            assert silenced.status_code == 201, silenced.text
            assert api.get("/silences").json()["silences"]
            rois = api.get("/config/rois")
            assert rois.json()["source"] == "kafka"
            put = api.put("/config/rois", json={"cameras": []}, headers={"If-Match": rois.headers["etag"]})
            assert put.status_code == 200, put.text
            assert api.get("/health").json()["kafka"] == {"status": "ok"}
            # A silence is followed within two seconds.
            until(lambda: "silences_changed" in started["router"].stderr, 20, "the router knows the silence", logs)
    for name, stage in started.items():
        assert "uthoriz" not in stage.stderr, (name, stage.stderr)
        assert secured.passwords[name] not in stage.stderr


def operations(secured, kafka):
    """What a login may do, as the cluster itself says: topic to operations."""
    from confluent_kafka import TopicCollection

    client = admin(kafka)
    described = client.describe_topics(
        TopicCollection([topic.name for topic in TOPICS]), include_authorized_operations=True, request_timeout=20
    )
    found = {}
    for name, future in described.items():
        try:
            found[name] = {each.name.lower() for each in future.result().authorized_operations}
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
            found[name] = set()
    return found


@pytest.mark.parametrize("service", SERVICES, ids=[service.name for service in SERVICES])
def test_the_cluster_allows_each_service_exactly_what_the_table_says(secured, service):
    table = {topic.name: set() for topic in TOPICS}
    for each in grants(service):
        if each.resource == "topic" and each.pattern == "literal":
            table[each.name].add(each.operation)
    for every in table.values():
        # Whoever may do anything else to a topic may also know of it; and of its settings, who may change them.
        every |= {"describe"} if every & {"read", "write", "delete", "alter"} else set()
        every |= {"describe_configs"} if "alter_configs" in every else set()
    assert operations(secured, secured.login(service.name)) == table


@pytest.mark.parametrize(
    ("service", "topic"),
    [("ingest", DETECTIONS), ("ingest", ALERTS), ("inference", FRAMES), ("inference", ALERTS), ("rules", ROI_REVISIONS),
     ("rules", DETECTIONS), ("router", ALERTS), ("evidence", ALERTS), ("api", ALERTS), ("api", DETECTIONS)],
)  # fmt: skip
def test_a_service_is_refused_what_is_not_its_to_write(secured, service, topic):
    with pytest.raises(BrokerUnreachable, match=r"(?i)authorization failed"):
        deliver(producer_of(secured.login(service), "test"), topic.name, key="a", value=b"x", seconds=20)


def first_error(kafka, group, topic):
    """The error that a member of the group gets who wants to read the topic; None where a record came."""
    client = consumer(kafka, group, "test", group_protocol="classic")
    try:
        client.subscribe([topic])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            message = client.poll(0.2)
            if message is not None:
                return None if message.error() is None else message.error().code()
    finally:
        client.close()
    raise AssertionError("neither a record nor an error within 30 s")


def test_a_service_reads_neither_others_topics_nor_in_others_groups(secured):
    assert first_error(secured.login("rules"), "rules", "frames") == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert first_error(secured.login("evidence"), "rules", "alerts") == KafkaError.GROUP_AUTHORIZATION_FAILED


def test_a_reader_reads_detections_and_alerts_and_nothing_else(secured):
    with_admin = producer_of(settings(secured.plain), "test")
    deliver(with_admin, "alerts", key="a", value=b"{}", partition=0)
    made = command(secured, None, "topics", "reader", "add", "bi")
    assert made.exit_code == 0, made.output
    bi = secured.as_user("bi", made.stdout.strip())
    for group in ("bi", "bi.dashboards"):
        assert first_error(bi, group, "alerts") is None
    assert first_error(bi, "other", "alerts") == KafkaError.GROUP_AUTHORIZATION_FAILED
    assert first_error(bi, "bi", "frames") == KafkaError.TOPIC_AUTHORIZATION_FAILED
    found = operations(secured, bi)
    assert {name: each for name, each in found.items() if each} == {
        "alerts": {"read", "describe"},
        "detections": {"read", "describe"},
    }
    with pytest.raises(BrokerUnreachable, match=r"(?i)authorization failed"):
        deliver(producer_of(bi, "test"), "alerts", key="a", value=b"x", seconds=20)
    assert command(secured, None, "topics", "reader", "list").stdout.split() == ["bi"]
    again = command(secured, None, "topics", "reader", "add", "bi")
    assert again.stdout != made.stdout, "another password"
    with pytest.raises(BrokerUnreachable):
        wait_for_broker(bi, 2)
    gone = command(secured, None, "topics", "reader", "remove", "bi")
    assert gone.exit_code == 0, gone.output
    with pytest.raises(BrokerUnreachable):
        wait_for_broker(secured.as_user("bi", again.stdout.strip()), 2)
    assert not [each for each in allowed(admin(settings(secured.plain))) if each[0] == "User:bi"]
    assert command(secured, None, "topics", "reader", "remove", "bi").exit_code == 2
    assert command(secured, None, "topics", "reader", "add", "backsight-rules").exit_code == 2
    assert command(secured, None, "topics", "reader", "add", "a.b").exit_code == 2


def test_the_command_applies_what_is_missing_and_says_what_is_beyond(secured):
    again = command(secured, None, "topics", "acl", "--apply")
    assert again.exit_code == 0, again.output
    assert "0 added" in again.stdout
    principal = "User:CN={service},O=plant"
    added = command(secured, None, "topics", "acl", "--apply", "--prefix", "p1.", "--principal", principal)
    assert added.exit_code == 0, added.output
    other = command(secured, None, "topics", "acl", "--apply", "--prefix", "p2.", "--principal", principal)
    assert "beyond the table" in other.stdout
    assert "write on topic p1.alerts" in other.stdout
    pruned = command(secured, None, "topics", "acl", "--apply", "--prune", "--prefix", "p2.", "--principal", principal)
    assert pruned.exit_code == 0, pruned.output
    there = {grant.name for name, grant in allowed(admin(settings(secured.plain))) if name == "User:CN=rules,O=plant"}
    assert "p2.alerts" in there
    assert not any(name.startswith("p1.") for name in there)


def test_only_who_administers_may_change_who_may(secured, tmp_path):
    refused = command(secured, "topics", "topics", "acl", "--apply", environ=secured.environ("topics", tmp_path))
    assert refused.exit_code == 1
    assert "refused" in refused.stderr
    reader = command(secured, "api", "topics", "reader", "add", "x", environ=secured.environ("api", tmp_path))
    assert reader.exit_code == 1


def test_the_topics_service_makes_the_topics_and_only_those(secured, tmp_path):
    environ = secured.environ("topics", tmp_path)
    done = command(secured, "topics", "topics", "describe", environ=environ)
    assert "detections" in done.stdout, done.output
    refused = command(secured, "topics", "topics", "apply", "--prefix", "other.", environ=environ)
    assert refused.exit_code == 1, refused.output


@pytest.mark.parametrize("wrong", ["password", "user", "authority", "no tls", "no login"])
def test_whoever_is_not_who_they_say_gets_no_connection(secured, tmp_path, wrong, capfd):
    kafka = secured.login("rules")
    changed = {
        "password": {"sasl_password": "wr0ngX"},
        "user": {"sasl_username": "backsight-nobody"},
        "authority": {"ssl_ca_location": str(untrusted(tmp_path))},
        "no tls": {"security_protocol": "SASL_PLAINTEXT", "ssl_ca_location": None},
        "no login": {"security_protocol": "SSL", "sasl_mechanism": None, "sasl_username": None, "sasl_password": None},
    }[wrong]
    told = KafkaSettings.model_validate({**kafka.model_dump(exclude_none=True), **changed})
    with pytest.raises(BrokerUnreachable) as refused:
        wait_for_broker(told, 2)
    said = str(refused.value) + "".join(capfd.readouterr())
    assert secured.passwords["rules"] not in said
    assert "wr0ngX" not in said


def test_a_cluster_without_an_authorizer_makes_no_reader_and_says_why(bootstrap):
    told = CliRunner().invoke(main, ["topics", "reader", "add", "bi"], env={"KAFKA_BOOTSTRAP_SERVERS": bootstrap})
    assert told.exit_code == 1
    assert "authorizer.class.name" in told.stderr
    assert told.stdout == ""


def test_replay_reads_as_the_operator(secured, tmp_path):
    listed = command(secured, "operator", "replay", "list", environ=secured.environ("operator", tmp_path))
    assert listed.exit_code == 0, listed.output

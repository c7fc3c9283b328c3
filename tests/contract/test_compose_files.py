"""What the compose files promise, read as Docker Compose reads them. No Docker engine is needed, and none was here."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cli.main import COMMANDS
from runtime.broker.properties import server_properties
from tests.support.compose import COMPOSE, ENTRYPOINT, ROOT, broker_properties, interpolated, read, variables

GPU, DOWNSTREAM = "docker-compose.gpu.yml", "docker-compose.downstream.yml"
FILES = (COMPOSE, GPU, DOWNSTREAM)
SHIPPED = {"DOWNSTREAM_HOST": "plant.example"}
STAGES = ("ingest", "inference", "rules", "router", "evidence", "api")
ONCE = ("topics", "config")
SCALABLE = ("ingest", "inference", "rules", "router", "evidence")
SECRET = re.compile(r"(PASSWORD|SECRET|TOKEN|CREDENTIAL|PRIVATE_KEY)(S?|_FILE)$")


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = read()["services"]
    return found


def schema() -> dict[str, Any]:
    """The compose-spec schema that check-jsonschema ships, read without starting it."""
    spec = importlib.util.find_spec("check_jsonschema")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_what_the_compose_specification_allows(name: str) -> None:
    document = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema())(schema())
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)] == []


def test_every_variable_stands_in_the_example_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    known = dict(re.findall(r"^#?([A-Z0-9_]+)=(.*)$", example, re.MULTILINE))
    told_elsewhere = {"KAFKA_BOOTSTRAP_SERVERS", "PICTURE_MEMORY_URL", "EVIDENCE_URL"}  # shown with a user's own value
    for name in FILES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert variables(text) - known.keys() == set(), name
        for variable, default in re.findall(r"\$\{([A-Z0-9_]+):-([^}]*)\}", text):
            assert variable in told_elsewhere or known[variable] == default, variable


def test_every_file_and_folder_that_is_mounted_is_there() -> None:
    mounted = {
        str(volume).split(":", 1)[0]
        for service in read(FILES, SHIPPED)["services"].values()
        for volume in service.get("volumes", ())
    }
    folders = {source for source in mounted if source.startswith((".", "/"))}
    provided = {"./secrets/kafka.pem"}  # by who opens the listener
    provided |= {
        "./deploy/prometheus",
        "./deploy/grafana/provisioning",
        "./deploy/grafana/dashboards",
    }  # land beside it
    assert {source for source in folders - provided if not (ROOT / source).exists()} == set()
    assert mounted - folders == set(read()["volumes"])
    assert "./secrets" in folders


def test_no_secret_stands_in_clear() -> None:
    for file in FILES:
        for name, service in read((file,), SHIPPED)["services"].items():
            for variable, value in service.get("environment", {}).items():
                assert not SECRET.search(variable) or variable.endswith("_FILE"), f"{file}: {name}: {variable}={value}"
    for name, value in re.findall(r"^#?([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE):
        assert not SECRET.search(name) or (name.endswith("_FILE") and value.startswith("/run/secrets/")), name


def test_what_runs_for_ever_has_bounds_a_check_and_no_rights(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["mem_limit"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "network_mode", "pid", "ipc", "user", "cap_add"} & service.keys(), name
        assert service.get("read_only") or name in ("kafka", "kafka-ui"), name
        assert "docker.sock" not in json.dumps(service), name
        if name in ONCE:
            assert service["restart"] == "no", name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["interval"] == "30s", name


def test_what_may_be_scaled_has_no_name_and_no_port_of_its_own(services: dict[str, Any]) -> None:
    assert not [name for name, service in services.items() if "container_name" in service or "hostname" in service]
    assert not [name for name in SCALABLE if "ports" in services[name]]


def test_kafka_is_reached_by_the_stages_alone(services: dict[str, Any]) -> None:
    assert services["kafka"]["networks"] == ["kafka"]
    assert "ports" not in services["kafka"]
    assert read()["networks"]["kafka"]["internal"] is True
    others = {name for name, service in services.items() if "kafka" in service.get("networks", ())}
    assert others == {"kafka", "kafka-ui", *STAGES, *ONCE}


def test_ports_are_published_on_loopback_unless_told_otherwise(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {
        "api": ["127.0.0.1:8000:8000"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
        "kafka-ui": ["127.0.0.1:8080:8080"],
    }
    assert read(environ={"PUBLISH_ON": "0.0.0.0", "API_PORT": "80"})["services"]["api"]["ports"] == ["0.0.0.0:80:8000"]


def test_the_users_files_are_read_only(services: dict[str, Any]) -> None:
    for name in (*STAGES, *ONCE):
        own = [volume for volume in services[name]["volumes"] if not volume.startswith("data:")]
        assert own == ["./configs:/app/configs:ro", "./models:/app/models:ro", "./secrets:/run/secrets:ro"], name


def test_everything_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    conditions = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    assert conditions["topics"] == {"kafka": "service_healthy"}
    assert conditions["config"]["topics"] == "service_completed_successfully"
    assert services["config"]["depends_on"]["camera-simulator"]["required"] is False, "it is there in one profile only"
    for name in STAGES:
        assert conditions[name] == {"config": "service_completed_successfully"}, name


def test_profiles_hold_what_is_not_always_wanted(services: dict[str, Any]) -> None:
    assert {name: service["profiles"] for name, service in services.items() if "profiles" in service} == {
        "kafka-ui": ["ui"],
        "camera-simulator": ["demo"],
    }


def test_commands_are_commands_of_ours(services: dict[str, Any]) -> None:
    for name in (*STAGES, "topics", "camera-simulator"):
        assert services[name]["command"][0] in COMMANDS, name
        if name != "topics":
            assert services[name]["healthcheck"]["test"] == ["CMD", "backsight", "health"], name
    recipe = (ROOT / services["ingest"]["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert f"ENTRYPOINT {json.dumps(ENTRYPOINT)}" in recipe
    for file in (COMPOSE, GPU):
        for service in read((file,))["services"].values():
            if "build" in service:
                assert f" AS {service['build']['target']}\n" in recipe


def test_prometheus_looks_for_every_stage_where_it_is(services: dict[str, Any]) -> None:
    jobs = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    asked = {name: each["port"] for job in jobs for each in job.get("dns_sd_configs", ()) for name in each["names"]}
    assert asked == {name: int(services[name]["environment"]["BACKSIGHT_HEALTH_PORT"]) for name in STAGES}
    for name in STAGES:
        assert "default" in services[name]["networks"], name
    sources = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"


def test_kafka_is_set_as_the_local_broker_is(services: dict[str, Any]) -> None:
    """Listeners and folders differ by nature; what else does is said here with its reason."""
    local, container = server_properties(9092, 9093), broker_properties(services["kafka"])
    for_a_small_heap_and_two_cores = {"log.cleaner.dedupe.buffer.size", "num.network.threads", "num.io.threads"}
    assert local.keys() - container.keys() == for_a_small_heap_and_two_cores
    assert container.keys() - local.keys() == set()
    addresses = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
    assert {name for name, value in container.items() if local[name] != value} == addresses
    for name in ("listeners", "advertised.listeners"):
        assert re.sub(r"//[a-z0-9.]*:", "//:", container[name]).split(",")[0] == "CLIENT://:9092"


def test_the_downstream_listener_is_the_only_one_that_is_published() -> None:
    kafka = read((COMPOSE, DOWNSTREAM), SHIPPED)["services"]["kafka"]
    properties = broker_properties(kafka)
    assert kafka["ports"] == ["0.0.0.0:9094:9094"]
    assert properties["listener.security.protocol.map"].endswith("DOWNSTREAM:SASL_SSL")
    assert properties["advertised.listeners"] == "CLIENT://kafka:9092,DOWNSTREAM://plant.example:9094"
    assert properties["listener.name.downstream.scram-sha-512.sasl.jaas.config"].endswith("ScramLoginModule required;")
    assert properties["allow.everyone.if.no.acl.found"] == "false"
    # The image's start script takes a listener with one of these names for its own kind of set-up.
    assert not re.search(r"(SSL|SASL_\w+)://", properties["advertised.listeners"])
    with pytest.raises(KeyError, match="DOWNSTREAM_HOST"):
        read((COMPOSE, DOWNSTREAM))


def test_gpus_are_for_those_who_look() -> None:
    services = read((COMPOSE, GPU))["services"]
    with_gpu = {name for name, service in services.items() if "deploy" in service}
    assert with_gpu == {"inference", "api"}
    assert services["inference"]["environment"]["INFERENCE_DEVICE"] == "cuda", "never a silent fall to the CPU"
    assert services["inference"]["environment"]["BACKSIGHT_GPU_LOCKS"].startswith("/data/"), "shared by the replicas"
    assert all(services[name]["image"] == "backsight:cuda" for name in with_gpu)
    assert services["ingest"]["image"] == "backsight:cpu"


@pytest.mark.parametrize(
    ("text", "filled"), [("${A:-b}", "b"), ("${SET:-b}", "x"), ("$${SET}", "${SET}"), ("a${SET}c${A:-}", "axc")]
)
def test_variables_are_filled_as_compose_does(text: str, filled: str) -> None:
    assert interpolated(text, {"SET": "x"}) == filled

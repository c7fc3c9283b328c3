"""The manifests of deploy/kubernetes: they check against the schemas of their kinds, and agree with the code."""

import json
import re
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from cli.main import main
from runtime.configs import check_configs
from runtime.settings import load_settings
from schemas.grants import SERVICES
from tests.support.kubernetes import FOLDER, OVERLAYS, Manifest, build, built, of_kind, pods, selects

CHECKOUT = FOLDER.parents[1]
STAGES = ("ingest", "inference", "rules", "router", "evidence", "api")
SOURCES = ("schemas", "runtime", "ingest", "inference", "rules", "router", "evidence", "replay", "api", "cli")
OF_DRIVERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "FSSPEC_S3_ENDPOINT_URL"}
"""Read by fsspec and s3fs themselves."""
OLDEST = "1.31"
NEWEST = kubernetes_validate.latest_version()

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def containers(template: Manifest) -> list[Manifest]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def environment_of(container: Manifest, config_maps: dict[str, Manifest]) -> dict[str, str]:
    """Without what comes from secrets."""
    named = (source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source)
    told = {name: value for each in named for name, value in config_maps[each]["data"].items()}
    return told | {each["name"]: each["value"] for each in container["env"] if "value" in each}


def known_variables() -> set[str]:
    text = "".join(path.read_text() for folder in SOURCES for path in (CHECKOUT / folder).rglob("*.py"))
    return set(re.findall(r'"([A-Z][A-Z0-9_]+)"', text)) | OF_DRIVERS


def strict(schema: Any) -> Any:
    """The schema with every key refused that it does not name, as the API server refuses them."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        inner["additionalProperties"] = False
    return inner


@pytest.mark.parametrize(("overlay", "version"), [("cpu", OLDEST), ("gpu", OLDEST), ("gpu", NEWEST)])
def test_core_kinds_check_against_kubernetes_schemas(overlay: str, version: str) -> None:
    seen = 0
    for manifest in build(overlay):
        if "." in manifest["apiVersion"] and not manifest["apiVersion"].split("/")[0].endswith(".k8s.io"):
            continue
        kubernetes_validate.validate(manifest, version, strict=True)
        seen += 1
    assert seen > 20


def test_the_operators_kinds_check_against_the_operators_schemas() -> None:
    seen = set()
    for manifest in build("gpu"):
        group, _, version = manifest["apiVersion"].rpartition("/")
        if group in ("keda.sh", "kafka.strimzi.io", "monitoring.coreos.com"):
            schema = json.loads((FOLDER / "schemas" / f"{manifest['kind'].lower()}-{version}.json").read_text())
            jsonschema.validate(manifest, strict(schema))
            seen.add(manifest["kind"])
    assert seen >= {"ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule", "KafkaTopic", "KafkaUser"}


def test_the_strict_schema_refuses_a_misspelt_key() -> None:
    schema = strict(json.loads((FOLDER / "schemas" / "scaledobject-v1alpha1.json").read_text()))
    (scaled, *_) = of_kind(build("gpu"), "ScaledObject").values()
    with pytest.raises(jsonschema.ValidationError, match="maxReplicas"):
        jsonschema.validate({**scaled, "spec": {**scaled["spec"], "maxReplicas": 3}}, schema)


@every_overlay
def test_every_stage_runs_a_command_that_there_is_with_settings_that_are_known(overlay: str) -> None:
    variables = known_variables()
    config_maps = of_kind(build(overlay), "ConfigMap")
    for stage, template in pods(build(overlay)):
        for container in containers(template):
            command: click.Command = main
            words = [word for word in container["args"] if not word.startswith("--")]
            for word in words:
                assert isinstance(command, click.Group), container["args"]
                found = command.get_command(click.Context(command), word)
                assert found is not None, f"{stage}: backsight has no command {container['args']}"
                command = found
            assert not isinstance(command, click.Group), f"{stage}: {container['args']} needs a subcommand"
            known = {name for option in command.params for name in option.opts}
            assert set(container["args"]) - set(words) <= known, container["args"]
            told = environment_of(container, config_maps)
            unknown = {name for name in told if not {name, name.removesuffix("_FILE")} & variables}
            assert not unknown, f"{stage}: nobody reads {unknown}"
            assert told["BACKSIGHT_HEALTH_PORT"] == "9100"
            # The steps of the Job are users of their own.
            user = f"backsight-{container['name'] if stage == 'provision' else stage}"
            assert told["KAFKA_SASL_USERNAME"] == user
            (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == "/etc/backsight/kafka")
            (volume,) = (each for each in template["spec"]["volumes"] if each["name"] == mount["name"])
            assert volume["secret"]["secretName"] == user
            assert user.removeprefix("backsight-") in {service.name for service in SERVICES}


@every_overlay
def test_every_container_s_environment_and_documents_check(overlay: str, tmp_path: Path) -> None:
    """As the container finds them: the mounted files lie under a folder of ours, and so do the paths in variables."""
    config_maps = of_kind(build(overlay), "ConfigMap")
    for stage, template in pods(build(overlay)):
        place = tmp_path / stage
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        for container in containers(template):
            for mount in container["volumeMounts"]:
                folder = place / mount["mountPath"].lstrip("/")
                folder.mkdir(parents=True, exist_ok=True)
                sources = volumes[mount["name"]].get("projected", {}).get("sources", ())
                for source in sources:
                    for name, text in config_maps[source["configMap"]["name"]]["data"].items():
                        (folder / name).write_text(text)
            (place / "etc/backsight/kafka/password").write_text("a password of the site\n")
            told = {
                name: f"{place}{value}" if value.startswith("/") else value
                for name, value in environment_of(container, config_maps).items()
            }
            configs = Path(told["BACKSIGHT_CONFIGS"])
            checked = check_configs(configs, told)
            assert not checked.problems, stage
            settings = load_settings(configs, told)
            assert sorted(path.name for path in configs.iterdir()) == ["cameras.yaml", "rois.yaml", "services.yaml"]
            assert (settings.health_host, settings.health_port) == ("0.0.0.0", 9100)
            kafka = settings.kafka.client_config()
            assert kafka["sasl.password"] == "a password of the site"
            assert kafka["security.protocol"] == "SASL_SSL"
            assert settings.services.api.host == ("0.0.0.0" if stage == "api" else "127.0.0.1")


@every_overlay
def test_each_stage_once_with_probes_on_the_health_port(overlay: str) -> None:
    assert sorted(of_kind(build(overlay), "Deployment")) == sorted(f"backsight-{stage}" for stage in STAGES)
    for deployment in of_kind(build(overlay), "Deployment").values():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports["health"] == 9100
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            assert container[probe]["httpGet"] == {"path": path, "port": "health"}


@every_overlay
def test_nobody_is_root_or_may_write_outside_its_volumes(overlay: str) -> None:
    for stage, template in pods(build(overlay)):
        of_pod = template["spec"]["securityContext"]
        assert of_pod["runAsNonRoot"] is True
        assert of_pod["runAsUser"] == 10001
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert template["spec"]["automountServiceAccountToken"] is False
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, stage
            assert {"requests", "limits"} <= set(container["resources"])
            assert "memory" in container["resources"]["limits"]
            volumes = {each["name"] for each in template["spec"]["volumes"]}
            assert {each["name"] for each in container["volumeMounts"]} <= volumes


def test_only_inference_asks_for_a_gpu_and_gets_the_image_for_it() -> None:
    for stage, template in pods(build("gpu")):
        (container, *_) = template["spec"]["containers"]
        gpus = container["resources"]["limits"].get("nvidia.com/gpu")
        device = {each["name"]: each.get("value") for each in container["env"]}.get("INFERENCE_DEVICE")
        expected = (1, "cuda", "backsight:cuda") if stage == "inference" else (None, device, "backsight:cpu")
        assert (gpus, device, container["image"]) == expected
        assert stage == "inference" or device in (None, "cpu")


@every_overlay
def test_selectors_select_the_pods_of_their_stage_alone(overlay: str) -> None:
    labels = {stage: template["metadata"]["labels"] for stage, template in pods(build(overlay))}
    manifests = build(overlay)
    for stage in STAGES:
        name = f"backsight-{stage}"
        for kind in ("Deployment", "PodDisruptionBudget"):
            selector = of_kind(manifests, kind)[name]["spec"]["selector"]
            assert [other for other in labels if selects(selector, labels[other])] == [stage]
    service = of_kind(manifests, "Service")["backsight-api"]["spec"]
    assert [stage for stage in labels if selects({"matchLabels": service["selector"]}, labels[stage])] == ["api"]
    api = of_kind(manifests, "Deployment")["backsight-api"]["spec"]["template"]["spec"]["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in api["ports"]}
    assert [(each["port"], ports[each["targetPort"]]) for each in service["ports"]] == [(8000, 8000)]
    assert {each["name"]: each.get("value") for each in api["env"]}["API_PORT"] == "8000"


@every_overlay
def test_what_is_named_is_there_or_a_secret_of_the_site(overlay: str) -> None:
    """Volumes and environments name config maps and claims that the overlay makes."""
    manifests = build(overlay)
    made = {kind: set(of_kind(manifests, kind)) for kind in ("ConfigMap", "PersistentVolumeClaim", "Secret")}
    assert made["Secret"] == set(), "secrets come by reference"
    for _stage, template in pods(manifests):
        text = yaml.safe_dump(template)
        named = re.findall(r"configMap(?:Ref)?:\s+name: (\S+)", text)
        assert named
        assert set(named) <= made["ConfigMap"]
        assert set(re.findall(r"claimName: (\S+)", text)) <= made["PersistentVolumeClaim"]
    for policy in of_kind(manifests, "TriggerAuthentication").values():
        assert {each["name"] for each in policy["spec"]["configMapTargetRef"]} <= made["ConfigMap"]


def ways(manifests: tuple[Manifest, ...], stage: str, direction: str) -> set[int]:
    """The ports that a stage's pods may speak to (``egress``), or be spoken to on (``ingress``); 1 stands for all."""
    labels = next(template["metadata"]["labels"] for name, template in pods(manifests) if name == stage)
    return {
        port["port"]
        for policy in of_kind(manifests, "NetworkPolicy").values()
        if selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get(direction, ())
        for port in rule["ports"]
    }


@every_overlay
def test_network_policies_let_through_what_each_stage_needs_and_no_more(overlay: str) -> None:
    manifests = build(overlay)
    deny = of_kind(manifests, "NetworkPolicy")["backsight-default-deny"]["spec"]
    assert sorted(deny) == ["podSelector", "policyTypes"]
    scrapes = {9100} if overlay == "gpu" else set()
    for stage, template in pods(manifests):
        assert selects(deny["podSelector"], template["metadata"]["labels"])
        out = {"ingest": {554, 322, 8554}, "router": {1}}.get(stage, set())
        assert ways(manifests, stage, "egress") == {53, 9093} | out, stage
        assert ways(manifests, stage, "ingress") == scrapes | ({8000} if stage == "api" else set()), stage
    servers = of_kind(manifests, "ConfigMap")
    (environment,) = (each["data"] for name, each in servers.items() if name.startswith("backsight-environment"))
    assert environment["KAFKA_BOOTSTRAP_SERVERS"].endswith(":9093")


def test_every_dashboard_is_there_for_grafana() -> None:
    found = of_kind(build("gpu"), "ConfigMap")["backsight-dashboards"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert sorted(found["data"]) == sorted(
        path.name for path in (CHECKOUT / "deploy/grafana/dashboards").glob("*.json")
    )


def test_a_site_s_own_overlay_works_as_the_page_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "docs/kubernetes.md").read_text(), re.DOTALL)
    (overlay,) = (yaml.safe_load(block) for block in blocks if "configMapGenerator" in block)
    overlay["resources"] = [f"{from_folder(tmp_path)}/overlays/gpu"]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    for name in ("cameras", "rois", "routes", "services"):
        (tmp_path / f"{name}.yaml").write_text(f"# the site's {name}\n")
    config_maps = of_kind(built(tmp_path), "ConfigMap")
    assert config_maps["backsight-documents"]["data"]["routes.yaml"] == "# the site's routes\n"
    told = {key: value for each in config_maps.values() for key, value in each["data"].items()}
    assert told["services.yaml"] == "# the site's services\n"
    assert told["KAFKA_BOOTSTRAP_SERVERS"] == "kafka.example:9093"
    assert told["KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"


def from_folder(folder: Path) -> str:
    """Kustomize takes no absolute paths, so an overlay elsewhere reaches deploy/kubernetes by a relative one."""
    return "../" * len(folder.resolve().parts[1:]) + str(FOLDER).lstrip("/")


def test_the_object_store_takes_the_place_of_the_volume(tmp_path: Path) -> None:
    away = from_folder(tmp_path)
    overlay = {"resources": [f"{away}/base"], "components": [f"{away}/components/object-store"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    manifests = built(tmp_path)
    assert not of_kind(manifests, "PersistentVolumeClaim")
    for stage in ("inference", "evidence", "api"):
        kubernetes_validate.validate(of_kind(manifests, "Deployment")[f"backsight-{stage}"], OLDEST, strict=True)
    for stage, template in pods(manifests):
        assert "data" not in {each["name"] for each in template["spec"]["volumes"]}
        (container, *_) = template["spec"]["containers"]
        assert not [each for each in container["volumeMounts"] if each["mountPath"].startswith("/data")]
        keeps = stage in ("inference", "evidence", "api")
        assert ("AWS_SECRET_ACCESS_KEY" in {each["name"] for each in container["env"]}) is keeps
        assert ({443, 9000} <= ways(manifests, stage, "egress")) is keeps
    (environment,) = (each["data"] for name, each in of_kind(manifests, "ConfigMap").items() if "environment" in name)
    assert environment["EVIDENCE_URL"].startswith("s3://")

"""Every secret may lie in a file, and none is shown."""

import importlib
import os
import pkgutil
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

import router.sinks
from router.sinks import open_sink
from runtime.configs import expand
from runtime.settings import KafkaSettings, load_settings
from schemas.documents.services import Services
from schemas.problems import BadDocument

SECRET = "correct-horse-s3cretX"


def secrets_of(model: type[BaseModel], place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where a document holds secrets."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += secrets_of(kind, (*place, name))
        elif "SecretStr" in str(kind) or kind is SecretStr:
            found.append((*place, name))
    return found


SERVICES = {
    ("alerting", "webhook_url"): ("ALERTING_WEBHOOK_URL", f"https://u:{SECRET}@host.example/"),
    ("alerting", "hikvision_url"): ("ALERTING_HIKVISION_URL", f"http://u:{SECRET}@host.example"),
    ("alerting", "redis_url"): ("REDIS_URL", f"redis://:{SECRET}@host.example"),
    ("evidence", "sign_secret"): ("EVIDENCE_SIGN_SECRET", SECRET),
    ("api", "tls_key_password"): ("API_TLS_KEY_PASSWORD", SECRET),
}
KAFKA = {("sasl_password",): "KAFKA_SASL_PASSWORD", ("ssl_key_password",): "KAFKA_SSL_KEY_PASSWORD"}


def test_this_list_of_secrets_is_whole():
    assert set(secrets_of(Services)) == set(SERVICES)
    assert set(secrets_of(KafkaSettings)) == set(KAFKA)


@pytest.mark.parametrize("place", SERVICES)
def test_every_secret_of_services_may_lie_in_a_file_and_is_not_shown(tmp_path, place):
    variable, value = SERVICES[place]
    (tmp_path / "secret").write_text(value + "\n")
    told = load_settings(tmp_path, {f"{variable}_FILE": str(tmp_path / "secret")})
    section, key = place
    assert getattr(getattr(told.services, section), key).get_secret_value() == value
    assert SECRET not in f"{told!r}{told}{told.model_dump_json()}"


@pytest.mark.parametrize("variable", ["PICTURE_MEMORY_URL", "EVIDENCE_URL"])
def test_a_store_s_address_may_lie_in_a_file_and_is_not_shown(tmp_path, variable):
    (tmp_path / "secret").write_text(f"s3://key:{SECRET}@bucket/x\n")
    told = load_settings(tmp_path, {f"{variable}_FILE": str(tmp_path / "secret")})
    assert SECRET not in f"{told!r}{told}"


@pytest.mark.parametrize("place", KAFKA)
def test_every_secret_of_kafka_may_lie_in_a_file_and_is_not_shown(tmp_path, place):
    (tmp_path / "secret").write_text(SECRET + "\n")
    told = load_settings(tmp_path, {f"{KAFKA[place]}_FILE": str(tmp_path / "secret")})
    assert getattr(told.kafka, place[0]).get_secret_value() == SECRET
    assert SECRET not in f"{told!r}{told}{told.model_dump_json()}"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_said_by_the_variable_s_name(tmp_path, content):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(BadDocument, match="KAFKA_SASL_PASSWORD_FILE: cannot be read"):
        load_settings(tmp_path, {"KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "secret")})


def test_what_documents_write_as_a_variable_may_lie_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("p@ss\n")
    problems = []
    url = expand("rtsp://u:${CAM}@h/1", {"CAM_FILE": str(tmp_path / "secret")}, "cameras.yaml", problems)
    assert (url, problems) == ("rtsp://u:p%40ss@h/1", [])


def test_every_sink_takes_its_secrets_from_variables_and_shows_none(tmp_path):
    """Whatever key of whatever sink is a secret: `${NAME}` in it is filled from a file, and `repr` does not show it."""
    kinds = [found.name for found in pkgutil.iter_modules(router.sinks.__path__)]
    looked_at = 0
    for kind in kinds:
        module = importlib.import_module(f"router.sinks.{kind}")
        for model in vars(module).values():
            if not (isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__):
                continue
            for key, *_ in secrets_of(model):
                shown = repr(model.model_construct(**{key: SecretStr(SECRET)}))
                assert SECRET not in shown, (kind, key)
                looked_at += 1
    assert looked_at >= 9
    (tmp_path / "secret").write_text(f"https://hooks.example/{SECRET}\n")
    document = {"name": "desk", "kind": "webhook", "url": "${DESK}", "secrets": []}
    sink = open_sink(document, "sinks[0]", {"DESK_FILE": str(tmp_path / "secret")})
    assert SECRET not in repr(sink)
    assert Path(tmp_path / "secret").exists()


def test_ultralytics_neither_installs_nor_calls_home_nor_loads_code(monkeypatch):
    """Set before the package is imported; whether it is there does not matter."""
    from inference.detectors import ultralytics

    monkeypatch.setattr(importlib, "import_module", lambda _name: type("Package", (), {"YOLO": dict(os.environ)}))
    for name in ("YOLO_AUTOINSTALL", "YOLO_OFFLINE", "ULTRALYTICS_SAFE_LOAD", "YOLO_VERBOSE", "YOLO_CONFIG_DIR"):
        monkeypatch.setenv(name, "")
    ultralytics._ultralytics()
    assert os.environ["YOLO_AUTOINSTALL"] == "false"
    assert (os.environ["YOLO_OFFLINE"], os.environ["ULTRALYTICS_SAFE_LOAD"]) == ("true", "true")

"""The settings of a process: `services.yaml`, and the environment, which wins."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, StringConstraints

from schemas.documents.reading import Document, Written, place_of, read_document, read_yaml
from schemas.documents.rois import RoiDefaults
from schemas.documents.services import Services
from schemas.problems import BadDocument, Problem

DEFAULT_BOOTSTRAP: Final = "127.0.0.1:9092"
CHECKOUT: Final = Path(__file__).parents[1]

SERVICES_VARIABLES: Final = {
    "INFERENCE_DEVICE": ("inference", "device"),
    "INFERENCE_MODEL_PATH": ("inference", "model_path"),
    "INFERENCE_CONFIDENCE": ("rules", "min_confidence"),
    "INFERENCE_BATCH_SIZE": ("inference", "batch_size"),
    "ALERTING_PROTOCOL": ("alerting", "protocol"),
    "ALERTING_WEBHOOK_URL": ("alerting", "webhook_url"),
    "ALERTING_HIKVISION_URL": ("alerting", "hikvision_url"),
    "REDIS_URL": ("alerting", "redis_url"),
    "BACKSIGHT_SITE": ("alerting", "site"),
    "PICTURE_MEMORY_URL": ("picture_memory", "url"),
    "EVIDENCE_URL": ("evidence", "url"),
    "EVIDENCE_BASE_URL": ("evidence", "base_url"),
    "EVIDENCE_SIGN_SECRET": ("evidence", "sign_secret"),
    "API_HOST": ("api", "host"),
    "API_PORT": ("api", "port"),
    "API_AUTH": ("api", "auth"),
    "API_TOKENS_FILE": ("api", "tokens_file"),
    "API_REQUESTS_PER_MINUTE": ("api", "requests_per_minute"),
    "API_TLS_CERTIFICATE": ("api", "tls_certificate"),
    "API_TLS_KEY": ("api", "tls_key"),
    "API_TLS_KEY_PASSWORD": ("api", "tls_key_password"),
}
"""Environment name to the place in `services.yaml` over which it wins."""

KAFKA_VARIABLES: Final = {
    "KAFKA_BOOTSTRAP_SERVERS": "bootstrap_servers",
    "KAFKA_SECURITY_PROTOCOL": "security_protocol",
    "KAFKA_SASL_MECHANISM": "sasl_mechanism",
    "KAFKA_SASL_USERNAME": "sasl_username",
    "KAFKA_SASL_PASSWORD": "sasl_password",
    "KAFKA_SSL_CA_LOCATION": "ssl_ca_location",
    "KAFKA_SSL_CERTIFICATE_LOCATION": "ssl_certificate_location",
    "KAFKA_SSL_KEY_LOCATION": "ssl_key_location",
    "KAFKA_SSL_KEY_PASSWORD": "ssl_key_password",
}

Prefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")]


class KafkaSettings(Document):
    """How to reach the cluster. Names are those of librdkafka with underscores."""

    bootstrap_servers: str = Field(default=DEFAULT_BOOTSTRAP, min_length=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: str | None = None
    ssl_certificate_location: str | None = None
    ssl_key_location: str | None = None
    ssl_key_password: SecretStr | None = None

    def client_config(self) -> dict[str, Any]:
        """The part of a librdkafka configuration that every client shares; secrets in clear, so never log it."""
        config: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None:
                config[name.replace("_", ".")] = value.get_secret_value() if isinstance(value, SecretStr) else value
        return config


class Settings(Document):
    """Everything a process is told. ``prefix`` begins every topic and consumer group."""

    services: Services = Services()
    kafka: KafkaSettings = KafkaSettings()
    prefix: Prefix = ""
    configs: Path = Path("configs")
    health_port: int | None = Field(default=None, ge=0, le=65535)
    health_host: str = Field(default="127.0.0.1", min_length=1)
    gpu_locks: Path | None = Field(
        default=None, description="where inference processes claim GPUs; shared by containers"
    )
    trace_ratio: float | None = Field(default=None, ge=0, le=1, description="None: no traces")
    kafka_is_given: bool = Field(default=False, description="KAFKA_BOOTSTRAP_SERVERS was set by the user")

    @property
    def roi_defaults(self) -> RoiDefaults:
        """What `rois.yaml` leaves open."""
        rules = self.services.rules
        return RoiDefaults(min_confidence=rules.min_confidence, debounce_window_seconds=rules.debounce_window_seconds)

    @property
    def floor(self) -> float:
        """The detector's floor: never above the default `min_confidence`, so that the record can tell."""
        return min(self.services.inference.floor, self.services.rules.min_confidence)


def environment(folder: Path | None = None) -> dict[str, str]:
    """The process's environment over the `.env` file of ``folder`` (the current one by default)."""
    from_file = {name: value for name, value in dotenv_values((folder or Path()) / ".env").items() if value is not None}
    return {**from_file, **os.environ}


def load_settings(configs: Path, environ: Mapping[str, str]) -> Settings:
    """`services.yaml` of the folder ``configs`` (all defaults where it is absent) with the environment over it.

    Raises `BadDocument` with every mistake; one that came from the environment is named by its variable.
    """
    file = configs / "services.yaml"
    written = read_yaml(file.read_text(encoding="utf-8"), file.name) if file.exists() else {}
    problems: list[Problem] = []
    values: dict[str, Any] = dict(written) if isinstance(written, dict) else {"services.yaml": written}
    named: dict[str, str] = {}
    for variable, (section, key) in SERVICES_VARIABLES.items():
        value = secret(environ, variable, problems)
        if value:
            values[section] = {**(values.get(section) or {}), key: value}
            named[place_of(file.name, (section, key))] = variable
    services = _read(Services, values, file.name, named, problems)
    kafka_values: dict[str, str] = {}
    for variable, key in KAFKA_VARIABLES.items():
        value = secret(environ, variable, problems)
        if value:
            kafka_values[key] = value
    kafka_named = {place_of("environment", (key,)): variable for variable, key in KAFKA_VARIABLES.items()}
    kafka = _read(KafkaSettings, kafka_values, "environment", kafka_named, problems)
    own = {
        "prefix": environ.get("BACKSIGHT_PREFIX", ""),
        "configs": configs,
        "health_port": environ.get("BACKSIGHT_HEALTH_PORT") or None,
        "health_host": environ.get("BACKSIGHT_HEALTH_HOST") or "127.0.0.1",
        "gpu_locks": environ.get("BACKSIGHT_GPU_LOCKS") or None,
        "trace_ratio": environ.get("BACKSIGHT_TRACE_RATIO") or None,
        "kafka_is_given": bool(environ.get("KAFKA_BOOTSTRAP_SERVERS")),
    }
    own_named = {
        "environment: prefix": "BACKSIGHT_PREFIX",
        "environment: health_port": "BACKSIGHT_HEALTH_PORT",
        "environment: trace_ratio": "BACKSIGHT_TRACE_RATIO",
    }
    if own["trace_ratio"] and importlib.util.find_spec("opentelemetry") is None:
        problems.append(Problem("BACKSIGHT_TRACE_RATIO", "traces need the extra `tracing`"))
    settings = _read(Settings, own, "environment", own_named, problems)
    if services is not None and not (configs / "routes.yaml").exists():
        alerting = services.alerting
        place = {"redis": "REDIS_URL"}.get(alerting.protocol, f"ALERTING_{alerting.protocol.upper()}_URL")
        if not getattr(alerting, f"{alerting.protocol}_url", True):
            problems.append(Problem(place, f"is needed for the protocol {alerting.protocol}"))
    if problems or services is None or kafka is None or settings is None:
        raise BadDocument(problems)
    return settings.model_copy(update={"services": _with_found_model(services), "kafka": kafka})


def _with_found_model(services: Services) -> Services:
    """A model path that is not in the current folder is looked for in the checkout, where the shipped models are."""
    path = Path(services.inference.model_path)
    shipped = CHECKOUT / path
    if path.is_absolute() or path.exists() or not shipped.exists():
        return services
    return services.model_copy(update={"inference": services.inference.model_copy(update={"model_path": str(shipped)})})


def redis_notice(environ: Mapping[str, str]) -> str | None:
    """What takes the place of a `REDIS_URL` left over from an older installation; None where there is none."""
    if not environ.get("REDIS_URL") or environ.get("ALERTING_PROTOCOL") == "redis":
        return None
    return (
        "REDIS_URL is set but not used: Kafka takes the place of Redis (KAFKA_BOOTSTRAP_SERVERS); "
        "alerts are on the topic `alerts`, frames on `frames`"
    )


def secret(environ: Mapping[str, str], name: str, problems: list[Problem]) -> str | None:
    """The variable ``name``, or the contents of the file that ``name``_FILE names; None where neither is set."""
    if environ.get(name):
        return environ[name]
    path = environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        problems.append(Problem(f"{name}_FILE", f"cannot be read: {reason}"))
        return None


def _read(
    kind: type[Written], values: dict[str, Any], name: str, named: Mapping[str, str], problems: list[Problem]
) -> Written | None:
    try:
        return read_document(kind, values, name)
    except BadDocument as bad:
        problems += [Problem(named.get(place, place), message) for place, message in bad.problems]
        return None

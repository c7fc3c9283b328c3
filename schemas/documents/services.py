"""`services.yaml`: how the stages run. The environment wins over it (see `runtime.settings`)."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from schemas.documents.reading import Document

Device = Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda|cuda:[0-9]+)$")]


class InferenceSettings(Document):
    """The detector and how its batches are made."""

    detector: Literal["auto", "onnx", "ultralytics", "scripted"] = Field(
        default="auto", description="auto: onnx for .onnx files, ultralytics for every other"
    )
    model_path: str = Field(
        default="models/yard/yard-2.onnx",
        description="relative to the current folder, else to the checkout; another one takes over without a restart",
    )
    device: Device = "auto"
    fp16: bool = Field(default=True, description="half precision, on a GPU only")
    tensorrt: bool = Field(default=False, description="ONNX models on a GPU through TensorRT; builds an engine first")
    batch_size: int = Field(default=8, ge=1, le=256)
    batch_wait_ms: int = Field(default=20, ge=0, le=5000, description="a batch that is not full leaves after this")
    floor: float = Field(default=0.10, ge=0, lt=1, description="confidence under which the detector reports nothing")
    iou: float = Field(default=0.5, gt=0, lt=1, description="boxes of one label that overlap more are one")
    staleness_seconds: float = Field(default=2.0, gt=0, description="a live frame older than this is skipped")
    threads: int = Field(default=0, ge=0, le=64, description="of the CPU detector; 0: as many as there are cores")
    allow_pickle_models: bool = Field(default=False, description="a .pt file runs the code that is in it")


class RulesSettings(Document):
    """Defaults of `rois.yaml`."""

    min_confidence: float = Field(default=0.25, ge=0, le=1)
    debounce_window_seconds: float = Field(default=30.0, ge=0)


class AlertingSettings(Document):
    """Where alerts go while there is no `routes.yaml`."""

    protocol: str = Field(default="stdout", pattern=r"^[a-z][a-z0-9_]{0,30}$", description="a kind of sink")
    webhook_url: SecretStr | None = Field(default=None, description="it may hold a token: never shown")
    webhook_timeout_seconds: float = Field(default=15.0, gt=0, le=300, description="for a whole attempt")
    site: str = Field(default="", max_length=100, description="of cameras that name none; routes match it")
    hikvision_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    max_age_seconds: float | None = Field(
        default=None, gt=0, description="an alert older than this expires; by default as the sink's kind has it"
    )


class PictureMemorySettings(Document):
    """Small pictures of what cameras saw, kept for as long as detections are, so that a replay can show them."""

    url: str = Field(
        default="var/pictures",
        min_length=1,
        repr=False,
        description="a folder, or a URL for which fsspec has a driver; it may hold a password: never shown",
    )
    every_seconds: float = Field(
        default=2.0, ge=0, le=3600, description="of capture time, for each label in sight; 0 keeps none"
    )
    width: int = Field(default=640, ge=64, le=7680, description="pixels; a smaller picture stays as it is")
    quality: int = Field(default=75, ge=30, le=100, description="of the JPEG")
    labels: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="which labels make a picture worth keeping; null: alert_classes"
    )


class EvidenceSettings(Document):
    """The picture of every alert, and the links under which people see it."""

    url: str = Field(
        default="var/evidence",
        min_length=1,
        repr=False,
        description="a folder, or a URL for which fsspec has a driver; it may hold a password: never shown",
    )
    days: int = Field(default=90, ge=1, le=3650, description="how long the evidence of an alert is kept")
    quality: int = Field(default=85, ge=30, le=100, description="of the JPEG with what was seen drawn in")
    clip_before_seconds: float = Field(default=5.0, ge=0, le=120)
    clip_after_seconds: float = Field(default=10.0, ge=0, le=120)
    base_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="under which receivers of alerts reach the API; with it every delivery links the evidence",
    )
    sign_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="signs the links, each of which opens the evidence of one alert for a while",
    )
    link_hours: float = Field(default=168.0, gt=0, le=24 * 366, description="how long a link works")

    @model_validator(mode="after")
    def _links_are_signed(self) -> Self:
        if self.base_url is not None and self.sign_secret is None:
            raise ValueError("base_url makes links, which need sign_secret (EVIDENCE_SIGN_SECRET)")
        return self


class ApiSettings(Document):
    """The HTTP API."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    auth: Annotated[Literal["tokens", "off"], BeforeValidator(lambda told: "off" if told is False else told)] = Field(
        default="tokens", description="off: whoever reaches the API may read and change everything"
    )
    tokens_file: str = Field(
        default="var/tokens.json", min_length=1, description="the hashes of the tokens (`backsight tokens`)"
    )
    requests_per_minute: int = Field(default=1200, ge=0, description="of one token; 0: no bound")
    tls_certificate: str | None = Field(default=None, min_length=1, description="PEM file, the chain in it")
    tls_key: str | None = Field(default=None, min_length=1, description="PEM file")
    tls_key_password: SecretStr | None = None
    max_upload_bytes: int = Field(default=10 * 1024 * 1024, gt=0)
    max_pixels: int = Field(default=40_000_000, gt=0)
    alert_days: int = Field(default=30, ge=1, le=90, description="how far back the list of alerts goes")

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together (API_TLS_CERTIFICATE, API_TLS_KEY)")
        return self


class Services(Document):
    """The whole of `services.yaml`."""

    inference: InferenceSettings = InferenceSettings()
    rules: RulesSettings = RulesSettings()
    alerting: AlertingSettings = AlertingSettings()
    picture_memory: PictureMemorySettings = PictureMemorySettings()
    evidence: EvidenceSettings = EvidenceSettings()
    api: ApiSettings = ApiSettings()

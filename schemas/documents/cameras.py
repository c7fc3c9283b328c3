"""`cameras.yaml`: which cameras there are and how they are read."""

from datetime import datetime
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, AwareDatetime, Field, SecretStr, StringConstraints, model_validator

from schemas.documents.reading import Document

CameraId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""Letters, digits, dot, underscore, dash: it is a record key, a metric label and a file name."""

SourceKind = Literal["rtsp", "file", "images", "device"]


class Camera(Document):
    """One camera.

    ``url`` (or ``rtsp_url``) takes `rtsp://`, `rtsps://`, a video file, a folder of images, or `/dev/videoN`;
    `${NAME}` in it is filled from the environment, so that a password stays out of the file.
    """

    id: CameraId
    name: str | None = None
    url: SecretStr = Field(validation_alias=AliasChoices("url", "rtsp_url"))
    site: str | None = Field(default=None, max_length=100, description="which routes match; default: alerting.site")
    enabled: bool = True
    fps_target: float = Field(default=5.0, gt=0, le=60, description="frames a second that are sampled")
    width: int = Field(default=1280, ge=64, le=7680, description="pixels; a wider picture is made smaller")
    quality: int = Field(default=85, ge=30, le=100, description="of the JPEG")
    realtime: bool = Field(default=True, description="false plays a file as fast as the pipeline takes it")
    loop: bool = Field(default=False, description="begin a file or folder again when it ends")
    start_at: AwareDatetime | None = Field(
        default=None, description="with realtime false: the instant of the file's first picture"
    )
    no_frame_seconds: float = Field(default=20.0, gt=0, le=3600, description="without a picture: connect again")
    frozen_seconds: float = Field(default=60.0, ge=0, description="the same picture for as long is frozen; 0: never")

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.id

    @property
    def start_at_ms(self) -> int | None:
        """``start_at`` in milliseconds UTC."""
        return None if self.start_at is None else _milliseconds(self.start_at)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.realtime and self.start_at is None:
            raise ValueError("realtime: false needs start_at (the instant of the first picture, with its zone)")
        if not self.realtime and self.loop:
            raise ValueError("realtime: false plays a file once: loop cannot be true")
        if not self.realtime and source_kind(self.url.get_secret_value()) in ("rtsp", "device"):
            raise ValueError("realtime: false is for files and folders of images")
        return self


class Cameras(Document):
    """The whole of `cameras.yaml`."""

    cameras: tuple[Camera, ...] = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        seen: set[str] = set()
        for place, camera in enumerate(self.cameras):
            if camera.id in seen:
                raise ValueError(f"cameras[{place}].id: {camera.id} is given twice")
            seen.add(camera.id)
        return self


def source_kind(url: str) -> SourceKind:
    """Which source reads this URL. A path that ends in a slash, or has no suffix, is a folder of images."""
    scheme = urlsplit(url).scheme
    if scheme in ("rtsp", "rtsps"):
        return "rtsp"
    if url.startswith("/dev/"):
        return "device"
    last = url.rsplit("/", 1)[-1]
    return "file" if "." in last[1:] else "images"


def check_url(url: str) -> str | None:
    """What is wrong with an expanded camera URL, or None. The answer never repeats the URL.

    FFmpeg would follow `concat:`, `http:` or an option that begins with a dash, so only the schemes above are let in.
    """
    if not url:
        return "is empty"
    if any(ord(character) < 32 for character in url):
        return "holds a control character"
    if url.startswith("-"):
        return "begins with a dash"
    scheme, colon, rest = url.partition(":")
    if colon and "/" not in scheme and scheme not in ("rtsp", "rtsps"):
        return "expected rtsp://, rtsps://, a video file, a folder of images, or /dev/videoN"
    if colon and scheme in ("rtsp", "rtsps"):
        if not rest.startswith("//"):
            return f"expected {scheme}://host/path"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "is no URL: is a character of the user or password not percent-encoded?"
        if not parts.hostname or port == 0:
            return f"expected {scheme}://host/path"
    return None


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)

"""A network camera over RTSP or RTSPS."""

from collections.abc import Iterator
from typing import Final

from ingest.sources.decoding import PROTOCOLS, decoded, open_video
from ingest.sources.source import Picture

OPEN_SECONDS: Final = 10.0


class RtspSource:
    """The camera's video over TCP: over UDP a lost packet is a damaged picture, and firewalls are in the way."""

    endless = True

    def __init__(self, url: str, no_frame_seconds: float) -> None:
        self._url = url
        self._no_frame_seconds = no_frame_seconds
        self._container, self._stream = open_video(
            url,
            options={
                "rtsp_transport": "tcp",
                "protocol_whitelist": PROTOCOLS,
                "allowed_media_types": "video",
                # How long FFmpeg looks at the stream before it begins, microseconds and bytes: a camera says in its
                # SDP what it sends, and 5 s, FFmpeg's own value, is 5 s without a picture.
                "analyzeduration": "1000000",
                "probesize": "1000000",
            },
            # A packet that does not come is waited for twice, by the RTSP reader and again by the demuxer (seen with
            # PyAV 18.1): half each keeps the whole within no_frame_seconds.
            timeout=(OPEN_SECONDS, no_frame_seconds / 2),
        )
        # One thread a camera: frame threads would cost latency (a picture each), and cameras run side by side anyway.
        self._stream.thread_count = 1
        self.codec = str(self._stream.codec_context.name)

    @property
    def origin_ms(self) -> float | None:
        """The camera's own wall clock at timestamp 0, milliseconds UTC; None until it has said so (RTCP)."""
        said: int | None = self._container.start_time_realtime
        return None if not said or said < 0 else said / 1000

    def pictures(self) -> Iterator[Picture]:
        """Pictures as the camera sends them."""
        return decoded(
            self._container,
            self._stream,
            self._url,
            no_picture_seconds=self._no_frame_seconds,
            skip_damaged=True,
        )

    def close(self) -> None:
        """Ends the session."""
        self._container.close()

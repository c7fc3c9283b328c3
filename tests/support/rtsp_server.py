"""The RTSP server for tests: the demo's, or a skip (a failure in CI) where GStreamer is not there."""

import os

import pytest

from demos.rtsp_server import RtspServer

__all__ = ["RtspServer", "need_rtsp"]


def need_rtsp() -> None:
    """Skips the test without GStreamer's RTSP server; with CI=true its absence is a failure."""
    if RtspServer.available():
        return
    missing = "needs gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-{base,good,bad} and python3-gi"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)

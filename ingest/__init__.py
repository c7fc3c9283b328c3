"""Cameras to the topic ``frames``."""

import runtime.pixel_limit  # noqa: F401 - before cv2

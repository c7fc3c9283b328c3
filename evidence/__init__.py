"""What an alert was opened by: its picture and clip, and the list of alerts."""

import runtime.pixel_limit  # noqa: F401 - before cv2

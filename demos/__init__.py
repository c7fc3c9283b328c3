"""Things to watch running: three demos and the synthetic yard that they look at."""

import runtime.pixel_limit  # noqa: F401 - before cv2

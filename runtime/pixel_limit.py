"""The largest picture that OpenCV decodes, told to it before it is loaded, which is when it reads its environment.

Every package that imports cv2 imports this first, in its `__init__`. Without it a PNG of 109 KB (30,000 x 30,000, one
bit) takes 5.3 GB and 14 s to decode, should one ever get past the look at its header (`inference.pictures.check`).
"""

import os
from typing import Final

MAX_PIXELS: Final = 40_000_000
"""An 8K picture has 33 million pixels."""

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

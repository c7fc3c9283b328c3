"""A camera live, with what the model sees drawn in: in a window, or on a page where there is no display.

python demos/realtime_yolo_stream.py                                   # a synthetic yard
python demos/realtime_yolo_stream.py --source 0 --model models/mine.onnx
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import cv2
import numpy as np

from demos.mjpeg import Page
from demos.trying import Trial, Watching, clear_errors, options
from inference.annotate import as_jpeg
from inference.pictures import Picture

TITLE: Final = "Backsight (q ends)"
TELL_SECONDS: Final = 5.0


@click.command()
@options
@click.option(
    "--show",
    type=click.Choice(["auto", "window", "page"]),
    default="auto",
    show_default=True,
    help="auto: a window where there is a display, else a page.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Of the page. Whoever reaches it sees the camera.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Of the page; 0: any.")
def main(
    source: str | None,
    model: str,
    rois: Path | None,
    camera: str | None,
    device: str | None,
    duration: float | None,
    show: str,
    host: str,
    port: int,
) -> None:
    """Show a camera live with its detections, and the ROIs where there are any; always the newest picture.

    A file is played at its own speed. Ends with Ctrl-C, with q in the window, after --duration, or with the file; the
    synthetic yard goes on and on.
    """
    with clear_errors():
        watching = Watching(source, realtime=True, loop=source is None, seconds=duration)
        trial = Trial(model, device, rois, camera, scene=source is None)
        shown, tell_at = 0, time.monotonic() + TELL_SECONDS
        window = show == "window" or (show == "auto" and _has_display())
        with _window() if window else _page(host, port) as put:
            for shot in watching.shots():
                if not put(trial.drawn(trial.look(shot))):
                    return
                shown += 1
                if time.monotonic() >= tell_at:
                    click.echo(f"{shown / TELL_SECONDS:.1f} pictures a second on {trial.detector.device}", err=True)
                    shown, tell_at = 0, time.monotonic() + TELL_SECONDS


def _has_display() -> bool:
    return sys.platform != "linux" or bool(
        (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and _window_fault() is None
    )


def _window_fault() -> str | None:
    """Why no window can be opened; None where it can. Asked in a process of its own: Qt aborts the one that asks."""
    # Qt complains of fonts that no window of ours needs.
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
    tried = subprocess.run(
        [sys.executable, "-c", "import cv2; cv2.namedWindow('try')"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else next(iter(tried.stderr.strip().splitlines()), "no reason given")


@contextmanager
def _window() -> Iterator[Callable[[Picture], bool]]:
    def put(picture: Picture) -> bool:
        cv2.imshow(TITLE, np.ascontiguousarray(picture[:, :, ::-1]))
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27) and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) > 0

    fault = _window_fault()
    if fault is not None:
        raise click.ClickException(f"no window can be opened ({fault}); --show page needs no display")
    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
    try:
        yield put
    finally:
        cv2.destroyAllWindows()


@contextmanager
def _page(host: str, port: int) -> Iterator[Callable[[Picture], bool]]:
    def put(picture: Picture) -> bool:
        page.show(as_jpeg(picture))
        return True

    try:
        page = Page(host, port)
    except OSError as error:
        raise click.ClickException(f"{host}:{port}: {error.strerror}; --port takes another") from None
    click.echo(f"look at http://{host}:{page.port}/", err=True)
    try:
        yield put
    finally:
        page.close()


if __name__ == "__main__":
    main()

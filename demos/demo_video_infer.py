"""A video in, the same video out with what the model sees drawn in: without Kafka.

python demos/demo_video_infer.py                                       # a synthetic yard
python demos/demo_video_infer.py --source gate.mp4 --model models/mine.onnx --rois configs/rois.yaml
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from demos.trying import Trial, Watching, clear_errors, options
from inference.pictures import Picture

TICKS: Final = 90_000
"""Of a second: the clock of the video that is written."""


@click.command()
@options
@click.option("--output", type=click.Path(path_type=Path), help="An MP4. [default: NAME.seen.mp4 in this folder]")
def main(
    source: str | None,
    model: str,
    rois: Path | None,
    camera: str | None,
    device: str | None,
    duration: float | None,
    output: Path | None,
) -> None:
    """Write an MP4 (H.264) in which every picture shows its detections, and the ROIs where there are any.

    Every picture of a file is looked at; of a camera as many as the detector manages, until Ctrl-C or --duration.
    Boxes that hit a ROI are red.
    """
    name = "yard" if source is None else Path(source).stem if "://" not in source else "camera"
    target = output or Path(f"{name}.seen.mp4")
    if source is not None and target.resolve() == Path(source).resolve():
        raise click.UsageError("--output is the source itself")
    with clear_errors():
        watching = Watching(source, seconds=duration)
        trial = Trial(model, device, rois, camera, scene=source is None)
        seen: Counter[str] = Counter()
        with _progress() as progress, _video(target) as write:
            task = progress.add_task(target.name, total=watching.pictures)
            for shot in watching.shots():
                look = trial.look(shot)
                seen.update(each.label for each in look.detections if each.confidence >= trial.least)
                write(trial.drawn(look), shot.at)
                progress.advance(task)
        words = ", ".join(f"{count} × {label}" for label, count in seen.most_common()) or "nothing"
        click.echo(f"wrote {target}: {words}")


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


@contextmanager
def _video(path: Path) -> Iterator[Any]:
    """Writes pictures (RGB) with their times in milliseconds; whatever ends it leaves a video that plays."""
    try:
        container = av.open(str(path), "w", format="mp4")
    except (av.FFmpegError, OSError) as error:
        raise click.ClickException(f"{path}: cannot be written ({error.strerror})") from None
    streams: list[Any] = []
    first: list[int] = []

    def write(picture: Picture, at: int) -> None:
        if not streams:
            stream = container.add_stream("libx264", options={"preset": "veryfast", "crf": "23"})
            # H.264 halves the colours, so both sides must be even.
            stream.width, stream.height, stream.pix_fmt = (
                picture.shape[1] // 2 * 2,
                picture.shape[0] // 2 * 2,
                "yuv420p",
            )
            stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS)
            streams.append(stream)
            first.append(at)
        (stream,) = streams
        even = picture[: stream.height, : stream.width]
        if even.shape[:2] != (stream.height, stream.width):
            raise click.ClickException("the size of the picture changed midway")
        frame = av.VideoFrame.from_ndarray(even.copy(), format="rgb24")
        frame.pts, frame.time_base = (at - first[0]) * TICKS // 1000, Fraction(1, TICKS)
        container.mux(stream.encode(frame))

    try:
        yield write
    finally:
        for stream in streams:
            container.mux(stream.encode())
        container.close()


if __name__ == "__main__":
    main()

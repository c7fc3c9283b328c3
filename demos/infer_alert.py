"""A camera or a video, the model and the ROIs, and the alerts on stdout: without Kafka.

python demos/infer_alert.py                                            # a synthetic yard
python demos/infer_alert.py --source rtsp://… --rois configs/rois.yaml --model models/mine.onnx
"""

import sys
from pathlib import Path

import click

from demos.trying import Trial, Watching, clear_errors, options
from ingest.sampling import Sampler
from router.sinks.stdout import readable_line
from schemas.codec import encode


@click.command()
@options
@click.option("--fps", type=click.FloatRange(0, 60, min_open=True), default=5.0, show_default=True, help="Sampled.")
def main(
    source: str | None,
    model: str,
    rois: Path | None,
    camera: str | None,
    device: str | None,
    duration: float | None,
    fps: float,
) -> None:
    """Say on stdout what the rules say: an alert when something of alert_classes stays in a ROI, and when it is gone.

    With nothing given, a synthetic yard is watched: its foreign object alerts, pine and worker pass. A line for a
    person on a terminal, the exact alert as a JSON line when piped. A file is judged as fast as it goes, its alerts
    dated as if it had begun now; what a camera saw meanwhile is skipped where the detector is slower.
    """
    if source is not None and rois is None:
        raise click.UsageError("--source needs --rois: without ROIs nothing can alert")
    with clear_errors():
        watching = Watching(source, seconds=duration)
        trial = Trial(model, device, rois, camera, scene=source is None)
        sampler = Sampler(fps)
        looked = opened = resolved = 0
        try:
            for shot in watching.shots():
                if not sampler.keep(shot.at):
                    continue
                looked += 1
                for alert in trial.look(shot).alerts:
                    opened += alert.phase == "opened"
                    resolved += alert.phase == "resolved"
                    _say(readable_line(alert) if sys.stdout.isatty() else encode(alert).decode())
        finally:
            click.echo(f"{looked} pictures, {opened} alert(s), {opened - resolved} still open", err=True)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()

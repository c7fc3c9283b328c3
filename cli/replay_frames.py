"""`backsight replay frames`: another model, or another threshold, on stored frames."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cli.options import read_settings, stage_options
from cli.replay_options import Cameras, read_span, show, shown_progress, told_plainly
from inference.detectors import device_for, open_detector
from inference.detectors.contract import BadModel, Detector, DeviceLost, OutOfMemory
from inference.device import NoDevice, claim
from replay.comparison import as_json
from replay.frame_plan import Plan, begin, check_frames, plan_of, read_plan
from replay.reinfer import reinfer
from replay.reinferred import compare_again
from replay.runs import check_name, remove_run, run_name, write_manifest
from replay.spans import Span, in_words
from replay.trial import Refused, read_history
from runtime.kafka import producer
from runtime.lifecycle import EXIT_CONFIG, EXIT_DEVICE, EXIT_FAULT
from runtime.revisions import RevisionHistory
from runtime.settings import Settings
from schemas.documents.reading import read_document
from schemas.documents.services import InferenceSettings


@click.command()
@click.option("--model", metavar="PATH", help="The candidate. Default: the model of the settings.")
@click.option("--floor", type=click.FloatRange(0, 1, max_open=True), help="Confidence under which nothing is reported.")
@click.option(
    "--iou", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Boxes that overlap more are one."
)
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N; wins over the settings.")
@click.option("--from", "begins", metavar="INSTANT", help="2026-11-16T08:00:00Z, -45m, … Needed for a new run.")
@click.option("--to", "ends", default="now", show_default=True, metavar="INSTANT", help="Not included.")
@click.option("--cameras", type=Cameras(), metavar="ID,ID", help="Only these cameras. Default: all.")
@click.option(
    "--run", metavar="NAME", help="The run's name; one that was interrupted goes on. Default: made from the time."
)
@click.option("--partial", is_flag=True, help="Go on where frames of the span are already deleted.")
@click.option("--json", "as_plain_json", is_flag=True, help="The whole comparison as JSON.")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), help="Write a report (HTML) to this folder."
)
@stage_options
def frames(
    model: str | None,
    floor: float | None,
    iou: float | None,
    device: str | None,
    begins: str | None,
    ends: str,
    cameras: frozenset[str] | None,
    run: str | None,
    partial: bool,
    as_plain_json: bool,
    report: Path | None,
    configs: Path,
    prefix: str,
) -> None:
    """Look at stored frames again, with another model or threshold, and show which alerts would differ.

    Every frame of the span is looked at, one by one, into the topic replay.RUN.detections. Those events are judged by
    the ROIs that held, on top of what was recorded before the span, and the alerts compared with the recorded ones.
    Frames are kept for an hour by default: docs/replay-frames.md says how to keep them longer. A run that was
    interrupted goes on when it is named again; `backsight replay remove RUN` removes it.

    \b
    backsight replay frames --model models/next.onnx --from -45m --run next
    backsight replay frames --run next                        # goes on where it was, or shows the result again

    Exit codes: 0 the same alerts, 3 different ones, 2 an option, document or model does not check or frames are gone,
    4 the GPU asked for is not there or taken, 5 Kafka cannot be reached, 1 interrupted or a fault.
    """
    settings, _ = read_settings(configs, prefix)
    with told_plainly():
        if run is not None:
            check_name(run)
        begun = None if run is None else read_plan(settings, run)
        if begun is not None:
            model, iou = model or begun.model_path, iou or begun.iou
            floor = begun.floor if floor is None else floor
            cameras = begun.only if cameras is None else cameras
        settings = _with(settings, model_path=model, device=device, iou=iou)
        floor = settings.floor if floor is None else floor
        span = _span(begins, ends) if begun is None else begun.span
        history = read_history(settings)
        _check_cameras(cameras or frozenset(), history)
        with _opened(settings, floor) as detector:
            plan = plan_of(settings, run or run_name(span), span, cameras, detector.model, floor)
            if begun is None:
                check_frames(settings, plan, partial=partial)
                begin(settings, plan)
            else:
                begun.check_same(plan)
                plan = begun
            done = _look(settings, plan, detector)
        if begun is None and not done:
            remove_run(settings, plan.run)
            raise Refused(f"no frame of the span is on the topic frames: {_in_words(span)}")
        plan = read_plan(settings, plan.run) or plan  # frames may have been deleted meanwhile
        with shown_progress("judging") as progress:
            comparison = compare_again(settings, plan, history, partial=partial, progress=progress)
        write_manifest(settings.prefix, plan.run, as_json(comparison), producer(settings.kafka, "backsight-replay"))
        code = show(settings, comparison, as_plain_json=as_plain_json, report=report)
    sys.exit(code)


def _with(settings: Settings, **asked: object) -> Settings:
    """The settings with what the options say over them; raises `BadDocument`."""
    written = settings.services.inference.model_dump() | {name: it for name, it in asked.items() if it is not None}
    told = read_document(InferenceSettings, written, "options")
    return settings.model_copy(update={"services": settings.services.model_copy(update={"inference": told})})


def _span(begins: str | None, ends: str) -> Span:
    if begins is None:
        raise Refused(
            "--from says where a new run begins, e.g. --from -45m; --run NAME goes on with one that was begun"
        )
    return read_span(begins, ends)


def _check_cameras(cameras: frozenset[str], history: RevisionHistory) -> None:
    unknown = sorted(cameras - set(history.cameras()))
    if unknown:
        known = ", ".join(sorted(history.cameras())) or "none"
        raise Refused(f"no camera that is judged is called {', '.join(unknown)}; known: {known}")


@contextlib.contextmanager
def _opened(settings: Settings, floor: float) -> Iterator[Detector]:
    """The detector, on a device that is ours meanwhile; what is wrong with either ends the process."""
    told = settings.services.inference
    try:
        with claim(device_for(told)) as held:
            yield open_detector(told, device=held.device, floor=floor)
    except BadModel as bad:
        click.echo(f"error: {bad}", err=True)
        sys.exit(EXIT_CONFIG)
    except (NoDevice, DeviceLost, OutOfMemory) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_DEVICE)


def _in_words(span: Span) -> str:
    return f"{in_words(span.begin)} to {in_words(span.end)}"


def _look(settings: Settings, plan: Plan, detector: Detector) -> int:
    """Looks at the frames, and says so; answers how many there were."""
    model = plan.model
    click.echo(f"run {plan.run}: {_in_words(plan.span)}, {model.name} {model.version}, floor {plan.floor:g}", err=True)
    try:
        with shown_progress("looking") as progress:
            looked = reinfer(settings, plan, detector, progress)
    except KeyboardInterrupt:
        click.echo(f"interrupted; --run {plan.run} goes on where it was", err=True)
        sys.exit(EXIT_FAULT)
    said = f"{looked.done} frames looked at"
    if looked.undecodable or looked.unreadable:
        said += f"; {looked.undecodable} hold no picture, {looked.unreadable} tell no camera or time"
    click.echo(said, err=True)
    return looked.done

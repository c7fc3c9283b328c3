"""`backsight replay explain`: why did this alert open, or why did nothing?"""

import json
import time
from pathlib import Path

import click
import msgspec

from cli.options import read_settings, stage_options
from cli.replay_options import open_source, shown_progress, told_plainly
from replay.comparison import missing_parts
from replay.explained import Explanation, clock_of, lines
from replay.judging import Timeline
from replay.question import Question, alert_of, answer, question_of, subject_of
from replay.recorded import recorded_alerts
from replay.run import Side
from replay.spans import in_words, span_of
from replay.trial import Refused, read_history
from runtime.configs import read_rois
from runtime.settings import Settings
from schemas.messages import Alert


@click.command()
@click.argument("alert_id", required=False)
@click.option("--camera", metavar="ID", help="Instead of an alert: the camera,")
@click.option("--roi", metavar="NAME", help="its ROI (where it has several)")
@click.option("--label", metavar="LABEL", help="and the label (where several alert).")
@click.option(
    "--from",
    "begin",
    metavar="INSTANT",
    help="With --camera: from when on. With an alert: how far back it is looked for. Default: -30d.",
)
@click.option("--to", "end", default="now", show_default=True, metavar="INSTANT", help="Not included.")
@click.option("--rois", type=click.Path(path_type=Path), help="Explain it under this candidate. Default: as it was.")
@click.option(
    "--source", "source_words", default="kafka", show_default=True, metavar="kafka|archive:FOLDER",
    help="Where the events are read from.",
)  # fmt: skip
@click.option("--partial", is_flag=True, help="Go on where part of the span is already deleted.")
@click.option("--json", "as_plain_json", is_flag=True, help="The explanation as JSON.")
@stage_options
def explain(
    alert_id: str | None,
    camera: str | None,
    roi: str | None,
    label: str | None,
    begin: str | None,
    end: str,
    rois: Path | None,
    source_words: str,
    partial: bool,
    as_plain_json: bool,
    configs: Path,
    prefix: str,
) -> None:
    """Tell the way of one subject (camera, ROI, label) through the rules, from the recorded detections, in words.

    Why did this alert open? Give its id, or the beginning of it. Why did nothing open? Give the camera and two
    instants. Every hit, every detection that was none and why, what was held back and until when: docs/explain.md.

    \b
    backsight replay explain 6cdfdbf1
    backsight replay explain --camera gate --roi dock --label object --from -2h --to -1h
    backsight replay explain --camera gate --from -2h --rois candidate.yaml

    Exit codes: 0 told, 2 an option or document does not check, no such alert, or part of the span is gone, 5 Kafka
    cannot be reached, 1 a fault.
    """
    settings, _ = read_settings(configs, prefix)
    now = round(time.time() * 1000)
    with told_plainly():
        if (alert_id is None) == (camera is None):
            raise Refused("give the id of an alert, or --camera and --from")
        if camera is not None and begin is None:
            raise Refused("--camera needs --from, the instant from which on to tell")
        span = span_of(begin or "-30d", end, now)
        side = _side(settings, rois)
        alert = None
        if alert_id is not None:
            recorded = recorded_alerts(settings.kafka, settings.prefix, span).alerts
            alert = alert_of(recorded, alert_id)
            question = question_of(alert, min(now, span.end), recorded)
        else:
            known = sorted(side.cameras())
            if camera not in known:
                raise Refused(f"{side.name} have no camera {camera}; known: {', '.join(known) or 'none'}")
            question = Question(camera, subject_of(side.of(camera), camera, roi, label), span)
        explanation, gone = _answered(settings, source_words, question, side.of(question.camera_id), partial=partial)
    notes = [*gone, *_notes(explanation, alert, rois)]
    _show(explanation, notes, as_plain_json=as_plain_json)


def _side(settings: Settings, rois: Path | None) -> Side:
    if rois is None:
        return Side.recorded("the documents as they held", read_history(settings))
    return Side.of_rois(str(rois), read_rois(rois, needed=True), settings.roi_defaults)


def _answered(
    settings: Settings, source_words: str, question: Question, timeline: Timeline, *, partial: bool
) -> tuple[Explanation, list[str]]:
    source = open_source(settings, source_words)
    try:
        gone = missing_parts(source, question.span, {question.camera_id})
        if gone and not partial:
            raise Refused(
                "part of the span is no longer in the history (--partial goes on without it): " + "; ".join(gone)
            )
        with shown_progress("reading") as progress:
            clock = clock_of(question.span)
            return answer(source, question, timeline, clock, progress), [f"not in the history: {each}" for each in gone]
    finally:
        source.close()


def _notes(explanation: Explanation, alert: Alert | None, rois: Path | None) -> list[str]:
    notes = []
    if "time" in explanation.inexact:
        notes.append("the history does not reach back far enough: what was open or held back before is not known")
    elif "suppressed" in explanation.inexact:
        notes.append("the history does not reach back far enough: the count of suppressed episodes is inexact")
    if alert is not None and alert.alert_id not in {each.alert_id for each in explanation.alerts}:
        under = "as the documents held" if rois is None else f"under {rois}"
        notes.append(f"judged again {under}, alert {alert.alert_id} (revision {alert.roi_revision}) does not open")
    return notes


def _show(explanation: Explanation, notes: list[str], *, as_plain_json: bool) -> None:
    if as_plain_json:
        click.echo(json.dumps({**msgspec.to_builtins(explanation), "notes": notes}, indent=2, ensure_ascii=False))
        return
    begin, end = explanation.span
    click.echo(
        f"{explanation.camera_id}: {explanation.label} in {explanation.roi}, {in_words(begin)} to {in_words(end)}"
    )
    for line in lines(explanation, clock_of(explanation.span)):
        click.echo(line)
    for note in notes:
        click.secho(f"note: {note}", fg="yellow", err=True)

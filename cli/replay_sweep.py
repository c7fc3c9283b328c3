"""`backsight replay sweep`: many settings in one pass."""

import json
from pathlib import Path

import click
import msgspec
from rich.table import Table

from cli.options import read_settings, table_console
from cli.replay_options import open_source, read_span, shown_progress, span_options, told_plainly
from replay.comparison import missing_parts
from replay.judging import Outcome
from replay.recorded import recorded_alerts
from replay.run import Side, judge
from replay.sweep import Swept, combinations, swept, vary, with_combination
from replay.sweep_plot import plot
from replay.trial import Refused, read_history
from runtime.configs import read_rois
from runtime.marks import read_marks
from schemas.documents.rois import effective_rules

_BAR = 16


@click.command()
@click.option(
    "--vary",
    "varied",
    multiple=True,
    required=True,
    metavar="KEY=VALUES",
    help="confirm.hits=1..5, min_confidence=0.3..0.7/0.1, debounce_window_seconds=10,30,60. Several are combined.",
)
@click.option("--rois", type=click.Path(path_type=Path), help="What to vary. Default: the active documents.")
@click.option("--roi", "only", multiple=True, metavar="NAME", help="Vary only this ROI. Default: all.")
@span_options
@click.option("--json", "as_plain_json", is_flag=True, help="Every combination as JSON.")
@click.option("--plot", "plot_to", type=click.Path(path_type=Path, dir_okay=False), help="Write a plot (SVG).")
def sweep(
    varied: tuple[str, ...],
    rois: Path | None,
    only: tuple[str, ...],
    begin: str,
    end: str,
    cameras: frozenset[str] | None,
    partial: bool,
    configs: Path,
    prefix: str,
    source_words: str,
    as_plain_json: bool,
    plot_to: Path | None,
) -> None:
    """Alerts per day for every combination of settings, in one pass over the events.

    \b
    backsight replay sweep --vary confirm.hits=1..5 --vary debounce_window_seconds=10,30,60 --from -7d --plot sweep.svg

    Where alerts are marked (`backsight alerts mark`), each combination also says how many of those it would raise are
    true, and which true ones it would lose.

    Exit codes: 0 done, 2 an option or document does not check or part of the span is gone, 5 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    span = read_span(begin, end)
    with told_plainly():
        tried = combinations([vary(text) for text in varied])
        if rois is None:
            history = read_history(settings)
            newest = [history.newest(camera_id) for camera_id in history.cameras()]
            rules = [each.document for each in newest if each is not None]
        else:
            rules = [effective_rules(entry, settings.roi_defaults) for entry in read_rois(rois, needed=True).cameras]
        rules = [each for each in rules if each.rois and (cameras is None or each.camera_id in cameras)]
        names = frozenset(only) or None
        unknown = sorted((names or frozenset()) - {roi.name for each in rules for roi in each.rois})
        if unknown or not rules:
            raise Refused(f"no ROI is called {', '.join(unknown)}" if unknown else "there is no ROI to vary")
        sides = [
            Side.of_rules(str(number), [with_combination(each, combination, names) for each in rules])
            for number, combination in enumerate(tried)
        ]
        source = open_source(settings, source_words)
        try:
            gone = missing_parts(source, span, cameras)
            if gone and not partial:
                raise Refused("part of the span is gone (--partial goes on without it): " + "; ".join(gone))
            with shown_progress(f"judging {len(tried)} combinations") as progress:
                judged = judge(source, span, sides, cameras, progress=progress)
        finally:
            source.close()
        watched = frozenset(each.camera_id for each in rules)
        recorded = recorded_alerts(settings.kafka, settings.prefix, span, watched).alerts
        marks = read_marks(settings.kafka, settings.prefix)
    covered = _covered_ms(list(judged[0].outcomes.values()))
    results = [
        swept(combination, each.alerts(), recorded, span, covered, marks)
        for combination, each in zip(tried, judged, strict=True)
    ]
    if plot_to is not None:
        plot_to.write_text(plot(results), encoding="utf-8")
        click.echo(f"wrote {plot_to}", err=True)
    if as_plain_json:
        plain = [msgspec.to_builtins(each) | {"combination": dict(each.combination)} for each in results]
        click.echo(json.dumps(plain, indent=2))
    else:
        table_console().print(_table(results))


def _covered_ms(outcomes: list[Outcome]) -> int:
    """From the first event of any camera to the last."""
    firsts = [outcome.first_at for outcome in outcomes if outcome.first_at is not None]
    lasts = [outcome.last_at for outcome in outcomes if outcome.last_at is not None]
    return max(lasts) - min(firsts) if firsts else 0


def _table(results: list[Swept]) -> Table:
    table = Table(box=None, header_style="bold")
    for key, _ in results[0].combination:
        table.add_column(key, justify="right", overflow="fold")
    marked = any(each.verdicts.precision is not None or each.lost for each in results)
    for name in ("alerts", "per day", "held back", "median s", *(("true/marked", "lost") if marked else ())):
        table.add_column(name, justify="right")
    table.add_column("")
    most = max((each.per_day for each in results), default=0.0) or 1.0
    for each in results:
        length = "" if each.median_seconds is None else f"{each.median_seconds:.1f}"
        cells = [*(str(value) for _, value in each.combination), str(each.alerts), f"{each.per_day:.1f}"]
        cells += [str(each.held_back), length]
        if marked:
            cells += [f"{each.verdicts.true}/{each.verdicts.true + each.verdicts.false}", str(len(each.lost))]
        table.add_row(*cells, "█" * round(_BAR * each.per_day / most))
    return table

"""A comparison as lines for a terminal."""

from collections import defaultdict
from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from replay.comparison import Comparison
from replay.diff import KINDS, SIGNS, Difference, Kind, changes
from replay.spans import in_words

MOST_SHOWN = 50
"""Differing alerts listed one by one; a report shows all of them."""

_COLOURS: dict[Kind, str] = {"added": "green", "removed": "red", "changed": "yellow", "same": "dim"}


def comparison_lines(comparison: Comparison) -> Iterator[Group | Table | Text]:
    """The table of counts, the differing alerts, and what the reader must know."""
    span, facts = comparison.manifest.span, comparison.cameras
    judged = sum(each.judged for each in facts)
    yield Text(
        f"{in_words(span.begin)} to {in_words(span.end)}: {judged:,} events of {len(facts)} camera(s); "
        f"before: {comparison.before.name}, after: {comparison.after.name}"
    )
    yield _counts(comparison)
    different = [each for each in comparison.differences if each.kind != "same"]
    for difference in different[:MOST_SHOWN]:
        yield _line(difference)
    if len(different) > MOST_SHOWN:
        yield Text(f"… and {len(different) - MOST_SHOWN} more (--report FOLDER shows more, --json all)", style="dim")
    for side, verdicts in (("before", comparison.verdicts_before), ("after", comparison.verdicts_after)):
        if verdicts.in_words:
            yield Text(f"{side}: {verdicts.in_words}")
    if comparison.lost:
        yield Text(f"alerts marked true that would be lost: {', '.join(comparison.lost)}", style="bold red")
    for note in comparison.notes:
        yield Text(f"note: {note}", style="yellow")


def _counts(comparison: Comparison) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("camera", "roi", "label"):
        table.add_column(name)
    for kind in KINDS:
        table.add_column(kind, justify="right")
    by_subject: defaultdict[tuple[str, str, str], list[Kind]] = defaultdict(list)
    for each in comparison.differences:
        by_subject[each.camera_id, each.roi, each.label].append(each.kind)
    for subject, kinds in sorted(by_subject.items()):
        table.add_row(*subject, *(_count(kinds.count(kind), kind) for kind in KINDS))
    if len(by_subject) != 1:
        counts = comparison.counts()
        table.add_row("all", "", "", *(_count(counts[kind], kind) for kind in KINDS), style="bold")
    return table


def _count(number: int, kind: Kind) -> Text:
    return Text(str(number) if number else "·", style=_COLOURS[kind] if number else "dim")


def _line(difference: Difference) -> Text:
    alert = difference.after or difference.before
    assert alert is not None
    ends = "still open" if alert.resolved_at is None else f"for {(alert.resolved_at - alert.opened_at) / 1000:g} s"
    subject = f"{difference.camera_id} {difference.roi} {difference.label}"
    more = ", ".join(changes(difference)) or f"{ends}, {alert.hits} hits"
    return Text(
        f"{SIGNS[difference.kind]} {difference.kind:<8}{in_words(difference.at)} {subject}: {more}",
        style=_COLOURS[difference.kind],
    )

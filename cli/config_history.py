"""`backsight config history`: which ROIs held when, and who knows of them."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from cli.options import configs_option, prefix_option, read_settings, refuse
from runtime.kafka import BrokerUnreachable
from runtime.lifecycle import EXIT_BROKER
from runtime.revision_acks import AckLog
from runtime.revisions import RevisionHistory, RevisionLog
from runtime.roi_changes import changes
from schemas.instants import in_words
from schemas.messages import RevisionAck
from schemas.problems import Problem


@click.command()
@click.option("--camera", "camera_id", metavar="ID", help="This camera alone.")
@click.option("--json", "as_json", is_flag=True, help="A list of revisions as JSON; instants are milliseconds UTC.")
@configs_option
@prefix_option
def history(camera_id: str | None, as_json: bool, configs: Path, prefix: str) -> None:
    """Show every revision of a camera's ROIs: from when it holds, what changed, and which workers know it.

    Acknowledgements are kept for seven days.

    Exit codes: 0 shown, 2 no such camera, 3 Kafka cannot be reached.
    """
    settings, _ = read_settings(configs, prefix)
    revisions, acknowledged = RevisionLog(settings.kafka, settings.prefix), AckLog(settings.kafka, settings.prefix)
    try:
        revisions.refresh()
        acks = acknowledged.refresh()
    except BrokerUnreachable as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_BROKER)
    finally:
        revisions.close()
        acknowledged.close()
    cameras = revisions.history.cameras()
    if camera_id is not None and camera_id not in cameras:
        known = ", ".join(cameras) or "none"
        refuse([Problem("--camera", f"no revision of {camera_id} was ever applied; there are: {known}")])
    told = list(entries(revisions.history, cameras if camera_id is None else (camera_id,), acks))
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    elif told:
        click.echo("\n".join(lines(told)))
    else:
        click.echo("no ROIs were ever applied; `backsight config apply` does", err=True)


def entries(
    history: RevisionHistory, cameras: Iterable[str], acks: Iterable[RevisionAck]
) -> Iterator[Mapping[str, Any]]:
    """One entry per revision, a camera's in the order in which they take effect."""
    known: dict[tuple[str, int], list[RevisionAck]] = defaultdict(list)
    for ack in acks:
        known[ack.camera_id, ack.effective_from].append(ack)
    for camera_id in cameras:
        before = None
        for each in history.of(camera_id):
            yield {
                "camera_id": camera_id,
                "revision": each.revision,
                "effective_from": each.effective_from,
                "published_at": each.published_at,
                "origin": each.origin,
                "changes": changes(before, each.document),
                "acknowledged": [
                    {"worker": ack.worker, "acknowledged_at": ack.acknowledged_at}
                    for ack in known[camera_id, each.effective_from]
                    if ack.revision == each.revision
                ],
            }
            before = each.document


def lines(told: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The entries for people."""
    camera_id = None
    for each in told:
        if each["camera_id"] != camera_id:
            camera_id = each["camera_id"]
            yield camera_id
        since = f"from {in_words(each['effective_from'])}" if each["effective_from"] else "from the beginning"
        through = "the file" if each["origin"] == "file" else "the API"
        yield f"  {each['revision']} {since}, published {in_words(each['published_at'])} through {through}"
        yield from (f"      {change}" for change in each["changes"])
        for ack in each["acknowledged"]:
            yield f"      acknowledged by {ack['worker']} at {in_words(ack['acknowledged_at'])}"

"""What the running stages say of themselves, read from their metrics endpoints, for a person to look at."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table


class Figures(NamedTuple):
    """Totals of one moment. Ages are seconds, mean over everything so far; None where a stage has not begun."""

    frames: float
    detections: float
    alerts: float
    delivered: float
    evidence: float
    dropped: float
    skipped: float
    dead_letters: float
    ages: Mapping[str, float | None]
    cameras_up: int
    cameras_frozen: int
    cameras: int


Sample = tuple[str, Mapping[str, str], float]


def scrape(port: int, seconds: float = 0.5) -> list[Sample]:
    """Every sample a stage offers; empty where it does not answer."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=seconds).text
    except httpx.HTTPError:
        return []
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def summarise(samples: Mapping[str, Iterable[Sample]]) -> Figures:
    """Figures from the samples of every stage."""
    every = [(stage, sample) for stage, found in samples.items() for sample in found]

    def total(name: str, **labels: str) -> float:
        return sum(
            value
            for _, (found, given, value) in every
            if found == name and all(given.get(key) == wanted for key, wanted in labels.items())
        )

    ages: dict[str, float | None] = {}
    for stage in ("ingest", "inference", "rules", "router"):
        count = total("backsight_record_age_seconds_count", stage=stage)
        ages[stage] = total("backsight_record_age_seconds_sum", stage=stage) / count if count else None
    cameras = [value for _, (name, _, value) in every if name == "backsight_camera_up"]
    return Figures(
        frames=total("backsight_camera_frames_total"),
        detections=total("backsight_stage_records_total", stage="inference"),
        alerts=total("backsight_alerts_total"),
        delivered=total("backsight_deliveries_total", outcome="delivered"),
        evidence=total("backsight_evidence_total", outcome="kept"),
        dropped=total("backsight_camera_frames_dropped_total"),
        skipped=total("backsight_frames_skipped_total"),
        dead_letters=total("backsight_dead_letters_total"),
        ages=ages,
        cameras_up=int(sum(cameras)),
        cameras_frozen=int(total("backsight_camera_frozen")),
        cameras=len(cameras),
    )


def as_table(figures: Figures, states: Mapping[str, str]) -> Table:
    """The live summary."""
    frozen = f", {figures.cameras_frozen} frozen" if figures.cameras_frozen else ""
    table = Table(title=f"cameras {figures.cameras_up} of {figures.cameras} up{frozen}", expand=False)
    for heading in ("stage", "state", "done", "mean age"):
        table.add_column(heading, justify="left" if heading in ("stage", "state") else "right")
    done = {
        "ingest": f"{figures.frames:.0f} frames, {figures.dropped:.0f} dropped",
        "inference": f"{figures.detections:.0f} detection events, {figures.skipped:.0f} skipped",
        "rules": f"{figures.alerts:.0f} alerts",
        "router": f"{figures.delivered:.0f} delivered",
        "evidence": f"{figures.evidence:.0f} kept",
    }
    for stage, state in states.items():
        age = figures.ages.get(stage)
        table.add_row(stage, state, done.get(stage, ""), "" if age is None else f"{age * 1000:.0f} ms")
    if figures.dead_letters:
        table.caption = f"{figures.dead_letters:.0f} dead letters"
    return table

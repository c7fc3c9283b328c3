"""Writes deploy/grafana/dashboards/*.json; `--check` says whether they are in step.

Edit the lists below, then run `python -m deploy.grafana.generate`.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.panels import Query, board, figure, graph

FOLDER: Final = Path(__file__).parent / "dashboards"


def rate(metric: str, *by: str, where: str = "") -> str:
    """Per second, summed by labels."""
    chosen = f"{{{where}}}" if where else ""
    of = f" by ({', '.join(by)}) " if by else ""
    return f"sum{of}(rate({metric}{chosen}[$__rate_interval]))"


def quantile(share: float, histogram: str, *by: str, where: str = "") -> str:
    """Of a histogram, by labels."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'le', *by, where=where)})"


def quantiles(histogram: str, *by: str, where: str = "") -> list[Query]:
    """The median, and what one in twenty and one in a hundred exceeds."""
    name = " ".join(f"{{{{{label}}}}}" for label in by)
    return [
        (quantile(share, histogram, *by, where=where), f"{name} p{share * 100:g}".strip())
        for share in (0.5, 0.95, 0.99)
    ]


def increase(metric: str, span: str = "24h", where: str = "") -> str:
    """Over a span, of everything; 0 where there is no series."""
    return f"sum(increase({metric}{{{where}}}[{span}])) or vector(0)"


def overview() -> dashboard.Dashboard:
    """Is all well, and if not, where."""
    jobs = 'job=~"ingest|inference|rules|router|evidence|api|shadow|archive"'
    return board(
        "overview",
        "Backsight: overview",
        [
            (
                "Now",
                [
                    figure("Cameras up", ("sum(backsight_camera_up)", "")),
                    figure("Cameras down", ("count(backsight_camera_up == 0) or vector(0)", ""), bad_from=1),
                    figure("Processes not ready", ("count(backsight_ready == 0) or vector(0)", ""), bad_from=1),
                    figure("Alerts opened, 24 h", (increase("backsight_alerts_total", where='phase="opened"'), "")),
                    figure(
                        "Not delivered, 24 h",
                        (increase("backsight_deliveries_total", where='outcome=~"expired|refused|gave_up"'), ""),
                        bad_from=1,
                    ),
                    figure("Dead letters, 24 h", (increase("backsight_dead_letters_total"), ""), bad_from=1),
                ],
            ),
            (
                "Flow",
                [
                    graph(
                        "Records into each stage",
                        (rate("backsight_stage_records_in_total", "stage"), "{{stage}}"),
                        unit="reqps",
                        about="Ingest: pictures sampled. Inference: frames. Rules, shadow: detection events. Router, "
                        "evidence: alerts.",
                    ),
                    graph(
                        "Records finished by each stage",
                        (rate("backsight_stage_records_total", "stage"), "{{stage}}"),
                        unit="reqps",
                    ),
                    graph(
                        "Age when a stage is done, p95",
                        (quantile(0.95, "backsight_record_age_seconds", "stage"), "{{stage}}"),
                        unit="s",
                        about="Since the picture was captured.",
                    ),
                    graph(
                        "Time in a stage, p95",
                        (quantile(0.95, "backsight_stage_duration_seconds", "stage"), "{{stage}}"),
                        unit="s",
                    ),
                    graph("Lag, records", ("sum by (stage) (backsight_consumer_lag_records)", "{{stage}}")),
                    graph("Lag, seconds", ("max by (stage) (backsight_consumer_lag_seconds)", "{{stage}}"), unit="s"),
                ],
            ),
            (
                "Alerts",
                [
                    graph(
                        "Alerts opened",
                        (rate("backsight_alerts_total", "severity", where='phase="opened"'), "{{severity}}"),
                        unit="cps",
                    ),
                    graph(
                        "Capture to delivery",
                        (quantile(0.95, "backsight_end_to_end_latency_seconds", "sink"), "{{sink}} p95"),
                        unit="s",
                    ),
                ],
            ),
            (
                "Processes",
                [
                    graph(
                        "CPU", (f"rate(process_cpu_seconds_total{{{jobs}}}[$__rate_interval])", "{{job}} {{instance}}")
                    ),
                    graph("Memory", (f"process_resident_memory_bytes{{{jobs}}}", "{{job}} {{instance}}"), unit="bytes"),
                    graph("Uptime", ("backsight_uptime_seconds", "{{stage}} {{instance}}"), unit="s"),
                    graph(
                        "Since the last commit",
                        ("time() - backsight_consumer_last_commit_timestamp_seconds", "{{stage}}"),
                        unit="s",
                        about="A stage without anything to do commits nothing.",
                    ),
                    graph(
                        "Assignments received", (rate("backsight_rebalances_total", "stage"), "{{stage}}"), unit="cps"
                    ),
                    graph(
                        "Records that Kafka did not take",
                        (rate("backsight_produce_errors_total", "stage"), "{{stage}}"),
                        unit="cps",
                    ),
                    figure("Versions", ("count by (version) (backsight_build_info)", "{{version}}"), width=12),
                    figure(
                        "Documents in force",
                        ("min by (document) (backsight_config_reload_ok)", "{{document}}"),
                        about="0: as it is written it was refused; what held before holds on.",
                        width=12,
                    ),
                ],
            ),
        ],
    )


def camera() -> dashboard.Dashboard:
    """One camera, or several: from its pictures to its alerts."""
    of = 'camera=~"$camera"'
    return board(
        "camera",
        "Backsight: camera",
        [
            (
                "Pictures",
                [
                    graph("Up", (f"backsight_camera_up{{{of}}}", "{{camera}}"), most=1, width=8),
                    graph("Frozen", (f"backsight_camera_frozen{{{of}}}", "{{camera}}"), most=1, width=8),
                    graph(
                        "Age of the newest frame",
                        (f"time() - backsight_camera_last_frame_timestamp_seconds{{{of}}}", "{{camera}}"),
                        unit="s",
                        width=8,
                    ),
                    graph(
                        "Pictures decoded",
                        (rate("backsight_camera_pictures_total", "camera", where=of), "{{camera}}"),
                        unit="reqps",
                    ),
                    graph(
                        "Frames produced",
                        (rate("backsight_camera_frames_total", "camera", where=of), "{{camera}}"),
                        (rate("backsight_camera_ticks_total", "camera", where=of), "{{camera}} offline ticks"),
                        unit="reqps",
                    ),
                    graph(
                        "Frames dropped",
                        (
                            rate("backsight_camera_frames_dropped_total", "camera", "reason", where=of),
                            "{{camera}} {{reason}}",
                        ),
                        unit="reqps",
                    ),
                    graph(
                        "Connections begun again",
                        (rate("backsight_camera_reconnects_total", "camera", where=of), "{{camera}}"),
                        unit="cps",
                    ),
                ],
            ),
            (
                "Alerts",
                [
                    graph(
                        "Alerts",
                        (rate("backsight_alerts_total", "camera", "phase", where=of), "{{camera}} {{phase}}"),
                        unit="cps",
                    ),
                    graph("Hits", (rate("backsight_hits_total", "camera", where=of), "{{camera}}"), unit="cps"),
                    graph(
                        "Episodes held back by the debounce window",
                        (rate("backsight_alerts_suppressed_total", "camera", where=of), "{{camera}}"),
                        unit="cps",
                    ),
                    graph(
                        "Detections with a label that is in neither list",
                        (rate("backsight_labels_unlisted_total", "camera", where=of), "{{camera}}"),
                        unit="cps",
                    ),
                    figure(
                        "Revision in force",
                        (f"backsight_roi_revision_info{{{of}}}", "{{camera}} {{revision}}"),
                        width=24,
                        about="`backsight config history` says what it is.",
                    ),
                ],
            ),
        ],
        variables=[("camera", "backsight_camera_up")],
    )


def inference() -> dashboard.Dashboard:
    """Does the detector keep up, and what does its GPU do."""
    batch = "backsight_inference_batch_size"
    return board(
        "inference",
        "Backsight: inference and GPU",
        [
            (
                "Detector",
                [
                    figure("Model", ("backsight_model_info", "{{job}} {{instance}}: {{name}} {{version}}"), width=24),
                    graph(
                        "Frames",
                        (rate("backsight_stage_records_total", "instance", where='stage="inference"'), "{{instance}}"),
                        unit="reqps",
                    ),
                    graph(
                        "Frames skipped", (rate("backsight_frames_skipped_total", "reason"), "{{reason}}"), unit="reqps"
                    ),
                    graph(
                        "Detecting one batch",
                        *quantiles("backsight_inference_duration_seconds", where='job!="api"'),
                        unit="s",
                    ),
                    graph(
                        "Frames in a batch",
                        *quantiles(batch),
                        (f"{rate(f'{batch}_sum')} / {rate(f'{batch}_count')}", "mean"),
                    ),
                    graph(
                        "From read to sent",
                        *quantiles("backsight_stage_duration_seconds", where='stage="inference"'),
                        unit="s",
                    ),
                    graph("Lag, records", ('backsight_consumer_lag_records{stage="inference"}', "{{instance}}")),
                    figure(
                        "Model as written is in force",
                        (
                            'backsight_model_reload_ok and on (instance) backsight_ready{stage="inference"}',
                            "{{instance}}",
                        ),
                        about="0: another one was refused; the one before goes on.",
                        width=24,
                    ),
                ],
            ),
            (
                "GPU",
                [
                    graph("Use", ("backsight_gpu_use_ratio", "{{instance}} {{gpu}}"), unit="percentunit", most=1),
                    graph(
                        "Memory",
                        ("backsight_gpu_memory_used_bytes", "{{instance}} {{gpu}} used"),
                        ("backsight_gpu_memory_total_bytes", "{{instance}} {{gpu}} total"),
                        unit="bytes",
                    ),
                    graph(
                        "Use of the video decoder",
                        ("backsight_gpu_decoder_use_ratio", "{{instance}} {{gpu}}"),
                        unit="percentunit",
                        most=1,
                        width=8,
                    ),
                    graph(
                        "Temperature",
                        ("backsight_gpu_temperature_celsius", "{{instance}} {{gpu}}"),
                        unit="celsius",
                        width=8,
                    ),
                    graph("Power", ("backsight_gpu_power_watts", "{{instance}} {{gpu}}"), unit="watt", width=8),
                    graph(
                        "Batches that its memory did not hold",
                        (rate("backsight_inference_out_of_memory_total"), "batches"),
                        unit="cps",
                    ),
                    graph(
                        "Critical errors (XID)",
                        (
                            rate("backsight_gpu_xid_errors_total", "instance", "gpu", "xid"),
                            "{{instance}} {{gpu}} XID {{xid}}",
                        ),
                        unit="cps",
                    ),
                ],
            ),
        ],
    )


def routing() -> dashboard.Dashboard:
    """Who was told, how fast, and what waits."""
    of = 'sink=~"$sink"'
    return board(
        "routing",
        "Backsight: routing",
        [
            (
                "Deliveries",
                [
                    graph(
                        "Deliveries ended",
                        (rate("backsight_deliveries_total", "sink", "outcome", where=of), "{{sink}} {{outcome}}"),
                        unit="cps",
                    ),
                    graph(
                        "Attempts",
                        (rate("backsight_delivery_attempts_total", "sink", "reason", where=of), "{{sink}} {{reason}}"),
                        unit="cps",
                    ),
                    graph(
                        "Capture to delivery, p95",
                        (quantile(0.95, "backsight_end_to_end_latency_seconds", "sink", where=of), "{{sink}}"),
                        unit="s",
                    ),
                    graph(
                        "One attempt, p95",
                        (quantile(0.95, "backsight_delivery_duration_seconds", "sink", where=of), "{{sink}}"),
                        unit="s",
                    ),
                ],
            ),
            (
                "Sinks",
                [
                    graph("Alerts that wait", (f"backsight_sink_pending{{{of}}}", "{{sink}}")),
                    graph(
                        "The alert that waits longest",
                        (f"backsight_sink_oldest_pending_seconds{{{of}}}", "{{sink}}"),
                        (f"backsight_sink_max_age_seconds{{{of}}}", "{{sink}}: limit"),
                        unit="s",
                    ),
                    graph(
                        "Left alone, or disabled",
                        (f"backsight_sink_breaker_open{{{of}}}", "{{sink}} breaker open"),
                        (f"backsight_sink_disabled{{{of}}}", "{{sink}} disabled"),
                        most=1,
                    ),
                    graph(
                        "Outputs of devices",
                        (f"backsight_sink_outputs_on{{{of}}}", "{{sink}} on"),
                        (f"backsight_sink_output_overdue{{{of}}}", "{{sink}} may be on beyond its time"),
                    ),
                    graph("Lag, records", ('backsight_consumer_lag_records{stage=~"router.*"}', "{{stage}}")),
                    graph(
                        "Documents taken up, or refused",
                        (rate("backsight_config_reloads_total", "document", "outcome"), "{{document}} {{outcome}}"),
                        unit="cps",
                    ),
                    graph(
                        "Dead letters",
                        (rate("backsight_dead_letters_total", "stage", "reason"), "{{stage}} {{reason}}"),
                        unit="cps",
                        width=24,
                    ),
                ],
            ),
            (
                "Evidence",
                [
                    graph("Evidence", (rate("backsight_evidence_total", "outcome"), "{{outcome}}"), unit="cps"),
                    graph(
                        "Alerts whose evidence is not kept yet",
                        ("sum(backsight_evidence_waiting)", "waiting"),
                        (
                            rate("backsight_evidence_trouble_total"),
                            "attempts that failed, per second",
                        ),
                    ),
                    graph("Written", (rate("backsight_evidence_bytes_total"), "bytes"), unit="Bps"),
                ],
            ),
        ],
        variables=[("sink", "backsight_sink_pending")],
    )


def replay() -> dashboard.Dashboard:
    """What history there is to judge again, and what runs beside the live rules. A replay itself is a command that
    ends, and writes its own report."""
    opened, marks = 'phase="opened"', "backsight_alert_marks_total"
    marked = f"sum(max by (verdict) (increase({marks}[7d])))"
    live = increase("backsight_alerts_total", where=opened)
    shadow = f"sum(increase(backsight_shadow_alerts_total{{{opened}}}[24h]))"
    return board(
        "replay",
        "Backsight: replay",
        [
            (
                "The candidate in the shadow (`backsight shadow run`)",
                [
                    figure(
                        "More alerts than live, 24 h",
                        (f"{shadow} - ({live})", ""),
                        about="By number; `backsight shadow report` says which ones.",
                        width=8,
                    ),
                    figure("Behind", ('backsight_consumer_lag_seconds{stage="shadow"}', ""), unit="s", width=8),
                    figure(
                        "Judged, 24 h", (increase("backsight_stage_records_total", where='stage="shadow"'), ""), width=8
                    ),
                    graph(
                        "Alerts opened, live and by the candidate",
                        (rate("backsight_alerts_total", "camera", where=opened), "{{camera}} live"),
                        (rate("backsight_shadow_alerts_total", "camera", where=opened), "{{camera}} shadow"),
                        unit="cps",
                        width=24,
                    ),
                ],
            ),
            (
                "What operators said",
                [
                    graph(
                        "Marks",
                        (f"max by (verdict) (increase({marks}[1h]))", "{{verdict}}, last hour"),
                        about="Every API process counts all of them, those of `backsight alerts mark` too.",
                    ),
                    figure(
                        "False among the marked, 7 d",
                        (f"max(increase({marks}{{verdict='false'}}[7d])) / ({marked})", ""),
                        unit="percentunit",
                        width=12,
                    ),
                ],
            ),
            (
                "History",
                [
                    graph(
                        "Archived events",
                        (rate("backsight_archive_events_total"), "events"),
                        unit="cps",
                        about="`backsight archive run --follow`",
                        width=8,
                    ),
                    graph("Archived files", ("sum(increase(backsight_archive_files_total[1h]))", "last hour"), width=8),
                    graph(
                        "Since the archive's last file",
                        ('time() - backsight_consumer_last_commit_timestamp_seconds{stage="archive"}', "archive"),
                        unit="s",
                        width=8,
                    ),
                    graph("Archive: records that wait", ('backsight_consumer_lag_records{stage="archive"}', "archive")),
                    graph(
                        "Picture memory, for `replay frames` and reports",
                        (rate("backsight_picture_bytes_total"), "bytes"),
                        unit="Bps",
                    ),
                    graph(
                        "Pictures kept, and dropped",
                        (rate("backsight_pictures_kept_total"), "kept"),
                        (rate("backsight_pictures_dropped_total", "reason"), "dropped: {{reason}}"),
                        unit="reqps",
                    ),
                    graph(
                        "Events too late to be judged",
                        (rate("backsight_events_late_total"), "events"),
                        unit="reqps",
                    ),
                ],
            ),
        ],
    )


BOARDS: Final[dict[str, Callable[[], dashboard.Dashboard]]] = {
    "overview": overview,
    "camera": camera,
    "inference": inference,
    "routing": routing,
    "replay": replay,
}


def generated() -> dict[Path, str]:
    """Every file with its text."""
    files = {}
    for name, make in BOARDS.items():
        plain = json.loads(json.dumps(make().build(), cls=JSONEncoder))
        for number, panel in enumerate(plain["panels"], 1):
            panel["id"] = number
        files[FOLDER / f"{name}.json"] = json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
    return files


def main(arguments: list[str]) -> int:
    """Writes, or with `--check` compares."""
    files = generated()
    if "--check" not in arguments:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return 0
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    wrong += sorted(set(FOLDER.glob("*.json")) - set(files))
    for path in wrong:
        sys.stderr.write(f"{path.name} is out of step; run `python -m deploy.grafana.generate`\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

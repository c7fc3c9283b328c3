"""Every metric of every process, in one list with its meaning.

Labels are bounded: camera, stage, sink, reason, label, phase and the like; never an alert id, a track or a URL.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_AGES: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Seconds, from a fast stage to a stage that has stopped."""

# Cameras
CAMERA_UP = Gauge("backsight_camera_up", "1 while the camera gives pictures", ["camera"])
CAMERA_FROZEN = Gauge("backsight_camera_frozen", "1 while the camera repeats one picture", ["camera"])
CAMERA_FRAMES = Counter("backsight_camera_frames_total", "frames produced", ["camera"])
CAMERA_TICKS = Counter("backsight_camera_ticks_total", "offline ticks produced", ["camera"])
CAMERA_DROPPED = Counter(
    "backsight_camera_frames_dropped_total", "sampled frames that were not produced", ["camera", "reason"]
)
CAMERA_RECONNECTS = Counter("backsight_camera_reconnects_total", "connections that were begun again", ["camera"])
CAMERA_LAST_FRAME = Gauge(
    "backsight_camera_last_frame_timestamp_seconds", "capture time of the newest frame produced", ["camera"]
)

# Every stage
STAGE_RECORDS = Counter("backsight_stage_records_total", "records that a stage has finished", ["stage"])
RECORD_AGE = Histogram(
    "backsight_record_age_seconds", "now minus capture time when a stage finishes a record", ["stage"], buckets=_AGES
)
LAG_RECORDS = Gauge("backsight_consumer_lag_records", "records between the log end and the position", ["stage"])
DEAD_LETTERS = Counter("backsight_dead_letters_total", "records put on dead-letters", ["stage", "reason"])
PRODUCE_ERRORS = Counter("backsight_produce_errors_total", "records the broker did not take", ["stage"])

# Inference
BATCH_SIZE = Histogram(
    "backsight_inference_batch_size", "frames in a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
INFERENCE_SECONDS = Histogram("backsight_inference_duration_seconds", "detecting one batch", buckets=_AGES)
FRAMES_SKIPPED = Counter("backsight_frames_skipped_total", "frames that were not inferred", ["reason"])
OUT_OF_MEMORY = Counter(
    "backsight_inference_out_of_memory_total", "batches that the device's memory did not hold; each is halved"
)
MODEL_INFO = Gauge("backsight_model_info", "1 for the model that runs", ["name", "version", "sha256"])
PICTURES_KEPT = Counter("backsight_pictures_kept_total", "small pictures written to the picture memory")
PICTURE_BYTES = Counter("backsight_picture_bytes_total", "bytes of the pictures written to the picture memory")
PICTURES_DROPPED = Counter(
    "backsight_pictures_dropped_total", "pictures that were due and were not kept: slow, failed", ["reason"]
)

# Rules
EVENTS_LATE = Counter("backsight_events_late_total", "events at or before the camera's watermark, not judged")
HITS = Counter("backsight_hits_total", "events with a hit, per subject", ["camera"])
LABELS_UNLISTED = Counter(
    "backsight_labels_unlisted_total", "detections whose label is in neither list of the camera", ["camera"]
)
ALERTS = Counter("backsight_alerts_total", "alerts sent", ["camera", "severity", "phase"])
ALERTS_SUPPRESSED = Counter(
    "backsight_alerts_suppressed_total", "episodes that the debounce window held back", ["camera"]
)

# Router
DELIVERIES = Counter("backsight_deliveries_total", "deliveries ended", ["sink", "outcome"])
DELIVERY_ATTEMPTS = Counter("backsight_delivery_attempts_total", "attempts to deliver", ["sink", "reason"])
END_TO_END = Histogram(
    "backsight_end_to_end_latency_seconds", "delivery minus the alert's instant", ["sink"], buckets=_AGES
)
SINK_PENDING = Gauge("backsight_sink_pending", "alerts read and not yet delivered", ["sink"])
CONFIG_RELOAD_OK = Gauge(
    "backsight_config_reload_ok", "1 while routes.yaml as it is written is in force, 0 while it was refused"
)
SINK_BREAKER_OPEN = Gauge("backsight_sink_breaker_open", "1 while a failing receiver is left alone", ["sink"])
SINK_DISABLED = Gauge("backsight_sink_disabled", "1 from a receiver's 410 until the router begins again", ["sink"])

# Evidence
EVIDENCE = Counter("backsight_evidence_total", "opened alerts whose evidence was looked for", ["outcome"])
EVIDENCE_TROUBLE = Counter("backsight_evidence_trouble_total", "attempts to keep evidence that failed")
EVIDENCE_WAITING = Gauge("backsight_evidence_waiting", "alerts in memory whose evidence is not kept yet")
EVIDENCE_BYTES = Counter("backsight_evidence_bytes_total", "bytes of the pictures and clips kept as evidence")

# API
API_REQUESTS = Counter("backsight_api_requests_total", "requests answered, probes left out", ["status"])

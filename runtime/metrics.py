"""Every metric of every process, in one list with its meaning; docs/metrics.md is made from it.

Labels are bounded: camera, stage, sink, reason, phase and the like; never an alert id, a track or a URL. The label
``stage`` is the process (`ingest`, `inference`, `rules`, `router`, …), and `router.<sink>` for what each of the
router's consumer groups has for itself.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_AGES: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Seconds, from a fast stage to a stage that has stopped."""
_WORK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
"""Seconds of work on one thing."""

# Every process
BUILD_INFO = Gauge("backsight_build_info", "1; what runs", ["stage", "version", "python"])
UPTIME = Gauge("backsight_uptime_seconds", "since the process began to serve this", ["stage"])
READY = Gauge("backsight_ready", "1 while `/readyz` says that the process can work, as asked at the scrape", ["stage"])
RELOADS = Counter(
    "backsight_config_reloads_total",
    "changed documents that were looked at: taken up, or refused",
    ["document", "outcome"],
)
CONFIG_RELOAD_OK = Gauge(
    "backsight_config_reload_ok",
    "1 while the document as it is written is in force, 0 while it was refused",
    ["document"],
)

# Cameras
CAMERA_UP = Gauge("backsight_camera_up", "1 while the camera gives pictures", ["camera"])
CAMERA_FROZEN = Gauge("backsight_camera_frozen", "1 while the camera repeats one picture", ["camera"])
CAMERA_PICTURES = Counter("backsight_camera_pictures_total", "pictures decoded, before sampling", ["camera"])
CAMERA_FRAMES = Counter("backsight_camera_frames_total", "frames produced", ["camera"])
CAMERA_TICKS = Counter("backsight_camera_ticks_total", "offline ticks produced", ["camera"])
CAMERA_DROPPED = Counter(
    "backsight_camera_frames_dropped_total", "sampled frames that were not produced", ["camera", "reason"]
)
CAMERA_RECONNECTS = Counter("backsight_camera_reconnects_total", "connections that were begun again", ["camera"])
CAMERA_LAST_FRAME = Gauge(
    "backsight_camera_last_frame_timestamp_seconds",
    "capture time of the newest frame produced; `time() -` it is the capture age",
    ["camera"],
)

# Every stage
STAGE_RECORDS_IN = Counter(
    "backsight_stage_records_in_total", "records that a stage has taken (ingest: sampled pictures)", ["stage"]
)
STAGE_RECORDS = Counter("backsight_stage_records_total", "records that a stage has finished", ["stage"])
STAGE_SECONDS = Histogram(
    "backsight_stage_duration_seconds",
    "from taking a record to handing on what came of it (inference: with the wait for its batch)",
    ["stage"],
    buckets=_WORK,
)
RECORD_AGE = Histogram(
    "backsight_record_age_seconds", "now minus capture time when a stage finishes a record", ["stage"], buckets=_AGES
)
LAG_RECORDS = Gauge(
    "backsight_consumer_lag_records", "records between what is finished and the log's end, as last measured", ["stage"]
)
LAG_SECONDS = Gauge(
    "backsight_consumer_lag_seconds",
    "age of the newest finished record while others wait behind it, else 0; as last measured",
    ["stage"],
)
LAST_COMMIT = Gauge(
    "backsight_consumer_last_commit_timestamp_seconds", "when offsets (archive: files) were last committed", ["stage"]
)
REBALANCES = Counter("backsight_rebalances_total", "assignments of partitions that were received", ["stage"])
DEAD_LETTERS = Counter("backsight_dead_letters_total", "records put on dead-letters", ["stage", "reason"])
PRODUCE_ERRORS = Counter("backsight_produce_errors_total", "records the broker did not take", ["stage"])

# Inference
BATCH_SIZE = Histogram(
    "backsight_inference_batch_size", "frames in a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
INFERENCE_SECONDS = Histogram("backsight_inference_duration_seconds", "detecting one batch", buckets=_WORK)
FRAMES_SKIPPED = Counter("backsight_frames_skipped_total", "frames that were not inferred", ["reason"])
OUT_OF_MEMORY = Counter(
    "backsight_inference_out_of_memory_total", "batches that the device's memory did not hold; each is halved"
)
MODEL_INFO = Gauge("backsight_model_info", "1 for the model that runs", ["name", "version", "sha256"])
MODEL_RELOAD_OK = Gauge(
    "backsight_model_reload_ok", "1 while the model that services.yaml names runs, 0 while it was refused"
)
PICTURES_KEPT = Counter("backsight_pictures_kept_total", "small pictures written to the picture memory")
PICTURE_BYTES = Counter("backsight_picture_bytes_total", "bytes of the pictures written to the picture memory")
PICTURES_DROPPED = Counter(
    "backsight_pictures_dropped_total", "pictures that were due and were not kept: slow, failed", ["reason"]
)

# The GPU that inference uses, as NVIDIA's driver says; absent without one
GPU_USE = Gauge("backsight_gpu_use_ratio", "share of time in which the GPU computed, 0 to 1", ["gpu"])
GPU_DECODER_USE = Gauge("backsight_gpu_decoder_use_ratio", "share of time in which the video decoder worked", ["gpu"])
GPU_MEMORY_USED = Gauge("backsight_gpu_memory_used_bytes", "memory in use, of all processes", ["gpu"])
GPU_MEMORY_TOTAL = Gauge("backsight_gpu_memory_total_bytes", "memory there is", ["gpu"])
GPU_TEMPERATURE = Gauge("backsight_gpu_temperature_celsius", "temperature of the chip", ["gpu"])
GPU_POWER = Gauge("backsight_gpu_power_watts", "power drawn", ["gpu"])
GPU_XID_ERRORS = Counter(
    "backsight_gpu_xid_errors_total", "critical errors (XID) that the driver told of", ["gpu", "xid"]
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
ROI_REVISION = Gauge(
    "backsight_roi_revision_info", "1 for the revision that a camera is judged by", ["camera", "revision"]
)

# Router
DELIVERIES = Counter("backsight_deliveries_total", "deliveries ended", ["sink", "outcome"])
DELIVERY_ATTEMPTS = Counter("backsight_delivery_attempts_total", "attempts to deliver", ["sink", "reason"])
DELIVERY_SECONDS = Histogram("backsight_delivery_duration_seconds", "one attempt", ["sink"], buckets=_WORK)
END_TO_END = Histogram(
    "backsight_end_to_end_latency_seconds",
    "delivery minus the alert's instant, which is the capture time of the frame that confirmed it",
    ["sink"],
    buckets=_AGES,
)
SINK_PENDING = Gauge("backsight_sink_pending", "alerts read and not yet delivered", ["sink"])
SINK_OLDEST = Gauge("backsight_sink_oldest_pending_seconds", "age of the alert that waits longest, else 0", ["sink"])
SINK_MAX_AGE = Gauge(
    "backsight_sink_max_age_seconds",
    "at what age an alert is no longer delivered; absent where that is never",
    ["sink"],
)
SINK_BREAKER_OPEN = Gauge("backsight_sink_breaker_open", "1 while a failing receiver is left alone", ["sink"])
SINK_DISABLED = Gauge(
    "backsight_sink_disabled", "1 from a receiver's 410 until its entry changes or the router begins again", ["sink"]
)
SINK_OUTPUTS_ON = Gauge("backsight_sink_outputs_on", "outputs of the sink's device that are on", ["sink"])
SINK_OUTPUT_OVERDUE = Gauge(
    "backsight_sink_output_overdue",
    "1 while an output may be on beyond its time, since the device does not take being turned off",
    ["sink"],
)

# Evidence
EVIDENCE = Counter("backsight_evidence_total", "opened alerts whose evidence was looked for", ["outcome"])
EVIDENCE_TROUBLE = Counter("backsight_evidence_trouble_total", "attempts to keep evidence that failed")
EVIDENCE_WAITING = Gauge("backsight_evidence_waiting", "alerts in memory whose evidence is not kept yet")
EVIDENCE_BYTES = Counter("backsight_evidence_bytes_total", "bytes of the pictures and clips kept as evidence")

# Judging again
SHADOW_ALERTS = Counter("backsight_shadow_alerts_total", "alerts of the candidate in the shadow", ["camera", "phase"])
ARCHIVE_EVENTS = Counter("backsight_archive_events_total", "detection events written to the archive")
ARCHIVE_FILES = Counter("backsight_archive_files_total", "files added to the archive")

# API
API_REQUESTS = Counter("backsight_api_requests_total", "requests answered, probes left out", ["status"])
API_SECONDS = Histogram("backsight_api_request_duration_seconds", "answering a request, probes left out", buckets=_WORK)
MARKS = Counter(
    "backsight_alert_marks_total",
    "what operators said of alerts while this API process ran, to whichever API or by `backsight alerts mark`",
    ["verdict"],
)

"""Two cameras at 5 fps through the whole pipeline on this machine: what is dropped, and how long an alert takes.

From the capture of the frame that confirms an alert to its line on stdout; the aim is under 1 s at p99.
"""

import sys
import tempfile
from pathlib import Path

from demos.rtsp_server import RtspServer
from demos.yard_demo import YardDemo, yards_of
from runtime.settings import KafkaSettings
from schemas.codec import decode
from schemas.messages import DetectionEvent
from tests.support.broker import running_broker
from tests.support.pipeline import environment, records, running

SECONDS = 120


def main() -> int:
    """Prints the figures; answers 1 where the pipeline itself failed."""
    with tempfile.TemporaryDirectory() as name, running_broker() as broker:
        folder = Path(name)
        scene = YardDemo(folder, yards_of(901, 2), SECONDS)
        scene.prepare(lambda _: None, rtsp=RtspServer.available())
        arguments = ["up", "--configs", str(scene.configs), "--data", str(folder / "data"), "--duration", str(SECONDS)]
        try:
            with running([*arguments, "--no-api"], environment(broker.bootstrap), folder / "out") as up:
                code = up.wait(SECONDS + 120)
                logs = up.logs(folder / "data")
        finally:
            scene.close()
        if code:
            print(logs, file=sys.stderr)
            return 1
        scene.look_back(KafkaSettings(bootstrap_servers=broker.bootstrap), "")
        events = [decode(DetectionEvent, each.value) for each in records(broker.bootstrap, "detections")]
        skipped = sum(event.skipped is not None for event in events)
        gaps = _missing(events)
        delays = scene.delays
        print(f"{len(events)} frames of 2 cameras in {SECONDS} s over {'RTSP' if RtspServer.available() else 'files'}")
        print(f"frames skipped or ticks: {skipped}; sequence numbers missing (dropped before produce): {gaps}")
        if delays:
            at = [delays[min(len(delays) - 1, round(len(delays) * share))] for share in (0.5, 0.99)]
            print(f"capture to stdout over {len(delays)} alerts: p50 {at[0]} ms, p99 {at[1]} ms, most {delays[-1]} ms")
    return 0


def _missing(events: list[DetectionEvent]) -> int:
    by_camera: dict[str, set[int]] = {}
    for event in events:
        by_camera.setdefault(event.camera_id, set()).add(event.seq)
    return sum(max(seen) - min(seen) + 1 - len(seen) for seen in by_camera.values())


if __name__ == "__main__":
    sys.exit(main())

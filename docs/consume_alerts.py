"""An alert consumer in a few lines: `pip install confluent-kafka`, then `python docs/consume_alerts.py`.

The fields are described in schemas/json/alert-1.json, the topic in schemas/asyncapi.yaml.
"""

import json
import os
from datetime import UTC, datetime

from confluent_kafka import Consumer

consumer = Consumer(
    {
        "bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        "group.id": "my-analytics",
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": 2 * 1024 * 1024,
    }
)
consumer.subscribe([os.environ.get("BACKSIGHT_PREFIX", "") + "alerts"])
seen = set()  # after a crash of ours the same alert may come again: (alert_id, seq) names it
try:
    while True:
        record = consumer.poll(1.0)
        if record is None or record.error():
            continue
        if dict(record.headers() or []).get("schema") != b"alert/1":
            continue
        alert = json.loads(record.value())
        name = (alert["alert_id"], alert["seq"])
        if name in seen:
            continue
        seen.add(name)
        opened = datetime.fromtimestamp(alert["opened_at"] / 1000, UTC)
        print(f"{opened:%F %T} {alert['phase']:8} {alert['camera_id']} {alert['roi']}: {alert['label']}", flush=True)
finally:
    consumer.close()

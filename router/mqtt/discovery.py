"""Home Assistant's discovery: a binary sensor for each camera, ROI and label. Pure.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

import hashlib
import json
import re
from typing import Final, NamedTuple

from router.mqtt.topics import Place, Topics

_NOT_IN_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]+")


class Sensor(NamedTuple):
    """Whether something of ``label`` is where it must not be."""

    place: Place
    label: str


def config_topic(discovery: str, topics: Topics, sensor: Sensor) -> str:
    """Where the sensor's description is retained. Two sensors never share one, whatever letters their names have."""
    return f"{discovery}/binary_sensor/backsight/{_id(topics, *sensor.place, sensor.label)}/config"


def config_payload(topics: Topics, sensor: Sensor) -> bytes:
    """The sensor's description."""
    camera, roi = sensor.place
    described = {
        "name": f"{roi} {sensor.label}",
        "unique_id": f"backsight_{_id(topics, camera, roi, sensor.label)}",
        "device_class": "safety",
        "state_topic": topics.state(sensor.place),
        # A JSON string is a string of the template's language, too.
        "value_template": "{{ 'ON' if "
        + json.dumps(sensor.label, ensure_ascii=False)
        + " in value_json.labels else 'OFF' }}",
        "json_attributes_topic": topics.state(sensor.place),
        "availability_topic": topics.status,
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 1,
        "device": {"identifiers": [f"backsight_{_id(topics, camera)}"], "name": camera, "manufacturer": "Backsight"},
        "origin": {"name": "Backsight"},
    }
    return json.dumps(described, ensure_ascii=False).encode()


def _id(topics: Topics, *names: str) -> str:
    """Readable, of the letters that Home Assistant takes, and unique by the hash at its end."""
    digest = hashlib.sha256("\0".join((topics.prefix, *names)).encode()).hexdigest()[:12]
    readable = _NOT_IN_AN_ID.sub("_", "_".join(names)).strip("_")[:60]
    return f"{readable}_{digest}"

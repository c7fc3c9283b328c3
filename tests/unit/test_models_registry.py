"""The models that come with the checkout are those that the registry names, and see what they are said to see."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from demos.yard import Yard, anchor_distance
from inference.detectors import onnx
from inference.detectors.contract import DetectorSettings
from inference.model_registry import identify

MODELS = Path(__file__).resolve().parents[2] / "models"
ENTRIES = yaml.safe_load((MODELS / "registry.yaml").read_text())["models"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_a_registered_model_is_the_file_that_was_measured(entry: dict[str, str]) -> None:
    content = (MODELS / entry["path"]).read_bytes()
    card = (MODELS / entry["card"]).read_text()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert entry["sha256"] in card
    assert entry["licence"] in card
    assert len(content) <= 6_000_000


def test_the_yard_model_tells_foreign_objects_from_what_may_pass() -> None:
    path = MODELS / "yard/yard-2.onnx"
    settings = DetectorSettings(device="cpu", floor=0.4, iou=0.6, batch_size=4, fp16=False, threads=1)
    detector = onnx.load(path, identify(path, MODELS / "registry.yaml"), settings)
    assert detector.labels == ("object", "pine", "worker")
    wanted = found = 0
    for camera in ("yard_gate", "yard_saw"):
        yard = Yard(7, camera)
        instants = [incident.starts_ms + 2_500 for incident in yard.incidents(45_000)]
        seen = detector.detect([np.ascontiguousarray(yard.at(t_ms)[0][:, :, ::-1]) for t_ms in instants])
        for t_ms, detections in zip(instants, seen, strict=True):
            labels = [truth.label for truth in yard.truths(t_ms) if truth.visible > 0.6]
            wanted += len(labels)
            found += sum(min(labels.count(label), [d.label for d in detections].count(label)) for label in set(labels))
            assert any(truth.label == "object" and anchor_distance(yard, truth) > 0 for truth in yard.truths(t_ms))
    assert found >= 0.8 * wanted

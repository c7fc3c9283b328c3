"""A COCO model and a video of people, from the folder beside the checkout that holds real input."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import simplejpeg

from inference.detectors import open_detector
from inference.detectors.contract import Detector
from inference.pictures import Limits, Picture, decode
from schemas.documents.services import InferenceSettings

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real"
MODEL = REAL / "yolov8n_int8_coco.onnx"
VIDEO = REAL / "one-by-one-person-detection.mp4"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (MODEL.exists() and VIDEO.exists()), reason="no ../shared/real beside the checkout"),
]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Every 60th picture of the video: one in six seconds."""
    with av.open(str(VIDEO)) as container:
        return [
            frame.to_ndarray(format="rgb24")
            for number, frame in enumerate(container.decode(video=0))
            if number % 60 == 0
        ]


@pytest.fixture(scope="module")
def detector() -> Detector:
    settings = InferenceSettings(model_path=str(MODEL))
    return open_detector(settings, device="cpu", floor=0.1, registry=REAL / "none.yaml")


def test_people_are_found_in_most_pictures_and_nobody_twice(detector: Detector, pictures: list[Picture]) -> None:
    assert len(detector.labels) == 80
    people = [
        [each for each in detector.detect([picture])[0] if each.label == "person" and each.confidence >= 0.3]
        for picture in pictures
    ]
    # One after the other they walk through the room; between two of them it is empty.
    assert sum(bool(found) for found in people) >= len(pictures) * 0.6
    assert max(len(found) for found in people) <= 2
    for found in people:
        for each in found:
            assert each.box[3] - each.box[1] > 0.15, "a person is not flat"


def test_the_same_picture_gives_the_same_detections_to_the_last_digit(
    detector: Detector, pictures: list[Picture]
) -> None:
    again = open_detector(
        InferenceSettings(model_path=str(MODEL)), device="cpu", floor=0.1, registry=REAL / "none.yaml"
    )
    assert again.detect(pictures[5:7]) == detector.detect(pictures[5:7])


def test_a_jpeg_decoded_at_half_its_size_shows_the_same_people(detector: Detector, pictures: list[Picture]) -> None:
    # 768 x 432 scaled to 1536 x 864, which is decoded at a half: what ingest sends of a larger camera.
    picture = pictures[5].repeat(2, axis=0).repeat(2, axis=1)
    content = simplejpeg.encode_jpeg(picture, quality=90)
    half = decode(content, Limits(10_000_000), at_least=detector.input_size)
    whole = decode(content, Limits(10_000_000))
    assert half.shape == pictures[5].shape
    ours, reference = (
        [each for each in detector.detect([given])[0] if each.label == "person" and each.confidence >= 0.3]
        for given in (half, whole)
    )
    assert len(ours) == len(reference) >= 1
    for one, other in zip(ours, reference, strict=True):
        assert one.box == pytest.approx(other.box, abs=0.03)

"""Every detector of the default install keeps the family's contract, and refuses what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from inference.detectors import DETECTORS, detector_name, model_labels, open_detector
from inference.detectors.contract import (
    BadModel,
    Detector,
    DetectorSettings,
    DeviceLost,
    FrameName,
    OutOfMemory,
    batch_size,
    device_fault,
)
from inference.detectors.onnx import OnnxDetector
from inference.detectors.scripted import picture_key
from inference.device import NoDevice
from inference.model_registry import sha256_of
from inference.onnx_file import read_names, read_onnx_head
from schemas.documents.services import InferenceSettings
from schemas.messages import Detection
from tests.support.detector_contract import check_contract, pictures
from tests.support.tiny_onnx import LABELS, write_tiny_onnx

FLOOR = 0.3


def opened(path: Path, **settings: Any) -> Detector:
    return open_detector(
        InferenceSettings(model_path=str(path), **settings),
        device="cpu",
        floor=FLOOR,
        registry=path.parent / "none.yaml",
    )


def scripted(folder: Path) -> Path:
    path = folder / "script.jsonl"
    lines = [
        {
            "picture": picture_key(picture),
            "detections": [
                {"label": label, "confidence": confidence, "box": [0.1, 0.1, 0.3, 0.2 + number / 10]}
                for label, confidence in (("red", 0.31), ("blue", 0.9), ("green", 0.29))
            ],
        }
        for number, picture in enumerate(pictures()[:3])
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


MODELS = {
    "dense": lambda folder: write_tiny_onnx(folder / "tiny.onnx"),
    "sparse": lambda folder: write_tiny_onnx(folder / "tiny.onnx", "sparse"),
    "dense float16": lambda folder: write_tiny_onnx(folder / "tiny.onnx", half=True),
    "sparse float16": lambda folder: write_tiny_onnx(folder / "tiny.onnx", "sparse", half=True),
    "always four pictures": lambda folder: write_tiny_onnx(folder / "tiny.onnx", batch=4),
    "always one picture": lambda folder: write_tiny_onnx(folder / "tiny.onnx", "sparse", batch=1),
    "of any size": lambda folder: write_tiny_onnx(folder / "tiny.onnx", size=(128, 64), open_size=True),
    "scripted": scripted,
}


@pytest.mark.parametrize("model", MODELS)
def test_the_contract_is_kept(model: str, tmp_path: Path) -> None:
    check_contract(opened(MODELS[model](tmp_path)), FLOOR)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_of_the_registry_is_one_a_document_may_name(name: str) -> None:
    assert detector_name(InferenceSettings.model_validate({"detector": name})) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b.onnx", "onnx"), ("B.ONNX", "onnx"), ("s.jsonl", "scripted"), ("y.pt", "ultralytics"), ("d", "ultralytics")],
)
def test_a_detector_is_chosen_by_the_suffix(path: str, name: str) -> None:
    assert detector_name(InferenceSettings(model_path=path)) == name


def red_corner(width: int, height: int) -> np.ndarray:
    """Black, with the quarter at the right and below in red."""
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[height // 2 :, width // 2 :, 0] = 255
    return picture


@pytest.mark.parametrize("output", ["dense", "sparse"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (1280, 720), (720, 1280), (640, 480), (32, 32)])
def test_boxes_come_back_in_fractions_of_the_picture(output: Any, width: int, height: int, tmp_path: Path) -> None:
    detector = opened(write_tiny_onnx(tmp_path / "tiny.onnx", output))
    found = detector.detect([red_corner(width, height)])[0]
    red = [each for each in found if each.label == "red" and each.confidence > 0.9]
    assert red, "the grey bars are seen as all three colours at once, the corner as red"
    # A cell is 8 of the input's 64 pixels; along the shorter side the picture has fewer of them.
    cell_x, cell_y = 8 / 64 * max(1, height / width), 8 / 64 * max(1, width / height)
    assert min(each.box[0] for each in red) == pytest.approx(0.5, abs=cell_x)
    assert min(each.box[1] for each in red) == pytest.approx(0.5, abs=cell_y)
    assert max(each.box[2] for each in red) == pytest.approx(1.0, abs=cell_x)
    assert max(each.box[3] for each in red) == pytest.approx(1.0, abs=cell_y)


def test_pictures_are_seen_red_first(tmp_path: Path) -> None:
    blue = np.zeros((64, 64, 3), dtype=np.uint8)
    blue[:, :, 2] = 255
    found = opened(write_tiny_onnx(tmp_path / "tiny.onnx")).detect([blue])[0]
    assert {(each.label, each.confidence) for each in found} == {("blue", 1.0)}


def test_a_fixed_batch_is_filled_up_and_split(tmp_path: Path) -> None:
    given = pictures() * 2
    four = opened(write_tiny_onnx(tmp_path / "four.onnx", batch=4))
    assert four.batch_size == 4
    assert four.detect(given) == opened(write_tiny_onnx(tmp_path / "any.onnx")).detect(given)


def test_on_a_cpu_pictures_go_one_at_a_time() -> None:
    told = DetectorSettings(device="cpu", floor=0.1, iou=0.5, batch_size=8)
    assert batch_size(told) == 1
    assert batch_size(told, fixed=4) == 4
    assert batch_size(told._replace(device="cuda:0")) == 8


def test_labels_are_told_without_loading_the_model(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx")
    assert model_labels(path) == LABELS
    head = read_onnx_head(path)
    assert (head.ir_version, head.opset, head.input_size) == (9, 18, (64, 64))
    assert model_labels(tmp_path / "none.onnx") is None


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("{0: 'pine', 1: 'worker'}", ("pine", "worker")),
        ("['pine', 'worker']", ("pine", "worker")),
        ("{0: 'pine', 2: 'worker'}", ("pine", "class_1", "worker")),
        ("{'0': 'pine'}", ("pine",)),
        ("__import__('os').system('true')", None),
        ("{}", None),
        ("7", None),
        ("{'pine': 0}", None),
        ("{999999999: 'pine'}", None),
        ("{0: 'pine'", None),
        ("(" * 5000, None),
        (None, None),
    ],
)
def test_class_names_are_read_as_a_literal_and_never_run(written: str | None, names: tuple[str, ...] | None) -> None:
    assert read_names(written) == names


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 20, bytes(100), b"\xff" * 100])
def test_bytes_that_are_no_onnx_model_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BadModel, match=r"broken\.onnx: is no ONNX model"):
        opened(path)


def test_a_model_cut_off_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadModel, match=r"tiny\.onnx"):
        opened(path)


def test_an_opset_that_the_runtime_does_not_know_is_named(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx")
    model = onnx.load(str(path))
    model.opset_import[0].version = 99
    onnx.save(model, str(path))
    with pytest.raises(BadModel, match="IR version 9, opset 99"):
        opened(path)


def test_a_model_that_is_no_detector_is_refused(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    inputs = [value("images", onnx.TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [value("mean", onnx.TensorProto.FLOAT, None)]
    graph = onnx.helper.make_graph([onnx.helper.make_node("ReduceMean", ["images"], ["mean"])], "g", inputs, outputs)
    path = tmp_path / "mean.onnx"
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    with pytest.raises(BadModel, match="is it a detection model"):
        opened(path)


def test_a_model_without_names_gets_numbered_labels(tmp_path: Path) -> None:
    assert opened(write_tiny_onnx(tmp_path / "tiny.onnx", names=None)).labels == ("class_0", "class_1", "class_2")


def test_names_that_do_not_fit_the_output_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="3 classes, but there are 2 names"):
        opened(write_tiny_onnx(tmp_path / "tiny.onnx", names="['red', 'green']"))


def test_labels_that_differ_from_the_registry_are_refused(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx")
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        "models: [{name: tiny, version: '1', path: tiny.onnx, labels: [red, green, grey],"
        f" sha256: {sha256_of(path)}}}]"
    )
    with pytest.raises(BadModel, match="red, green, grey, but the model's own are red, green, blue"):
        open_detector(InferenceSettings(model_path=str(path)), device="cpu", registry=registry)


def test_a_gpu_that_is_not_there_is_never_the_cpu_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny_onnx(tmp_path / "tiny.onnx")
    with pytest.raises(NoDevice, match=r"cuda:0.*no CUDA device"):
        open_detector(InferenceSettings(model_path=str(path)), device="cuda:0")
    # A GPU is there, but ONNX Runtime was built without CUDA.
    monkeypatch.setattr("inference.detectors.cuda_devices", lambda: ("card",))
    with pytest.raises(NoDevice, match="onnxruntime-gpu"):
        open_detector(InferenceSettings(model_path=str(path)), device="cuda:0")


def test_pickled_models_are_refused_before_anything_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "yolo.pt"
    path.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(BadModel, match="allow_pickle_models: true"):
        opened(path)


@pytest.mark.parametrize(
    ("words", "device", "kind"),
    [
        ("CUDA failure 2: out of memory ; GPU=0", "cuda:0", OutOfMemory),
        ("Failed to allocate memory for requested buffer of size 1", "cpu", OutOfMemory),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", "cuda:1", OutOfMemory),
        ("CUDA failure 700: an illegal memory access was encountered", "cuda:0", DeviceLost),
        ("CUDNN_STATUS_EXECUTION_FAILED", "cuda:0", DeviceLost),
        ("bad shape", "cuda:0", RuntimeError),
    ],
)
def test_what_a_runtime_says_tells_memory_from_a_lost_device(words: str, device: str, kind: type[Exception]) -> None:
    assert type(device_fault(RuntimeError(words), device)) is kind


def test_an_error_of_the_runtime_comes_out_as_one_of_ours(tmp_path: Path) -> None:
    detector = opened(write_tiny_onnx(tmp_path / "tiny.onnx"))
    assert isinstance(detector, OnnxDetector)

    class Full:
        def run(self, *_: object) -> None:
            raise RuntimeError("CUDA failure 2: out of memory")

    detector._session = Full()
    with pytest.raises(OutOfMemory):
        detector.detect(pictures())


def test_a_script_is_played_by_camera_and_time(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    seen = {"label": "object", "confidence": 0.9, "box": [0.1, 0.2, 0.3, 0.4]}
    path.write_text(
        '{"labels": ["object", "pine"]}\n\n' + json.dumps({"camera_id": "yard", "captured_at": 5, "detections": [seen]})
    )
    detector = opened(path)
    assert detector.labels == ("object", "pine")
    picture = pictures()[0]
    names = [FrameName("yard", 5), FrameName("yard", 6), FrameName("gate", 5)]
    assert detector.detect([picture] * 3, names) == [(Detection("object", 0.9, (0.1, 0.2, 0.3, 0.4)),), (), ()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"labels": ["a"]}\n{"detections": []}', r"script\.jsonl:2: expected camera_id and captured_at"),
        ("no json", r"script\.jsonl:1: "),
        ('{"picture": "0", "detections": [{"label": "a", "confidence": 2, "box": [0, 0, 1, 1]}]}', "<= 1"),
        ('{"boxes": []}', "unknown field `boxes`"),
        (
            '{"labels": ["a"]}\n{"picture": "0", "detections": [{"label": "b", "confidence": 1, "box": [0, 0, 1, 1]}]}',
            "b is not in the script's labels",
        ),
    ],
)
def test_a_script_that_does_not_check_is_refused_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text(text)
    with pytest.raises(BadModel, match=words):
        opened(path)

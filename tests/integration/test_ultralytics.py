"""The `ultralytics` detector with the real package, and a YOLOv8 `.pt` file end to end.

The weights are random, made here from the network's description: what is tried is the way, not the seeing.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.models import models
from inference.detectors import open_detector
from inference.detectors.contract import BadModel, OutOfMemory
from inference.detectors.ultralytics import uses_cuda
from inference.model_registry import sha256_of
from runtime.lifecycle import EXIT_CONFIG, EXIT_OK
from runtime.settings import CHECKOUT, KafkaSettings, load_settings
from schemas.documents.services import InferenceSettings
from tests.support.detector_contract import check_contract, pictures
from tests.support.inference_stage import Frames, Stage, inference_settings, read_events, running_stage

pytestmark = [
    pytest.mark.ultralytics,
    pytest.mark.slow,
    # torch's and matplotlib's own warnings are none of ours.
    pytest.mark.filterwarnings("ignore"),
]

if importlib.util.find_spec("ultralytics") is None:
    if os.environ.get("BACKSIGHT_NEEDS_ULTRALYTICS"):
        pytest.fail("BACKSIGHT_NEEDS_ULTRALYTICS is set, but the package ultralytics is not here", pytrace=False)
    pytest.skip("the extra `ultralytics` is not installed", allow_module_level=True)

FLOOR = 0.01
MODEL = CHECKOUT / "models" / "yard" / "yard-2.onnx"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLOv8n for three classes with random weights from a seed, saved as a pickle."""
    from inference.detectors.ultralytics import _ultralytics

    network_of = _ultralytics()
    import torch

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("weights")
    import ultralytics

    described = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8.yaml"
    own = folder / "yolov8n.yaml"
    own.write_text(described.read_text().replace("nc: 80", "nc: 3"))
    network = network_of(str(own), task="detect", verbose=False)
    network.model.names = {0: "object", 1: "pine", 2: "worker"}
    # Random weights are sure of nothing; a bias on the class outputs makes them say something.
    for branch in network.model.model[-1].cv3:
        torch.nn.init.constant_(branch[-1].bias, -3.0)
        torch.nn.init.normal_(branch[-1].weight, std=0.3)
    path = folder / "tiny.pt"
    network.save(str(path))
    return path


def test_a_pickle_is_refused_until_it_is_allowed(weights: Path) -> None:
    with pytest.raises(BadModel, match="allow_pickle_models: true"):
        open_detector(InferenceSettings(model_path=str(weights)), device="cpu", registry=weights.parent / "none")


def test_the_contract_is_kept(weights: Path) -> None:
    settings = InferenceSettings(model_path=str(weights), allow_pickle_models=True)
    detector = open_detector(settings, device="cpu", floor=FLOOR, registry=weights.parent / "none")
    assert detector.labels == ("object", "pine", "worker")
    assert (detector.model.name, detector.model.sha256) == ("tiny", sha256_of(weights))
    assert any(detector.detect(pictures())), "something is seen, or this shows nothing"
    check_contract(detector, FLOOR)


def test_both_detectors_see_the_same_in_the_same_network(weights: Path, tmp_path: Path) -> None:
    from inference.detectors.ultralytics import _ultralytics

    exported = Path(_ultralytics()(str(weights)).export(format="onnx", imgsz=(96, 160), simplify=False, opset=17))
    onnx = open_detector(
        InferenceSettings(model_path=str(exported)), device="cpu", floor=FLOOR, registry=tmp_path / "n"
    )
    settings = InferenceSettings(model_path=str(exported), detector="ultralytics")
    theirs = open_detector(settings, device="cpu", floor=FLOOR, registry=tmp_path / "n")
    picture = pictures()[1]  # 160 x 90: only the letterbox is between it and the input
    ours, reference = onnx.detect([picture])[0], theirs.detect([picture])[0]
    assert len(reference) > 3
    assert [each.label for each in ours] == [each.label for each in reference]
    for one, other in zip(ours, reference, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
        assert one.box == pytest.approx(other.box, abs=1e-3)


def test_a_model_is_exported_for_the_default_detector_and_registered(weights: Path, tmp_path: Path) -> None:
    services, exported = tmp_path / "services.yaml", tmp_path / "models" / "tiny" / "tiny-1.onnx"
    exported.parent.mkdir(parents=True)
    words = ["export", str(weights), "--size", "160x96", "--batches", "--output", str(exported)]
    command = [*words, "--configs", str(tmp_path)]
    refused = CliRunner().invoke(models, command)
    assert (refused.exit_code, exported.exists()) == (2, False)
    assert "allow_pickle_models: true" in refused.output
    services.write_text("inference: {allow_pickle_models: true}\n")
    beside = sorted(weights.parent.iterdir())
    done = CliRunner().invoke(models, command)
    assert done.exit_code == 0, done.output
    assert sorted(weights.parent.iterdir()) == beside, "nothing is left beside the weights"
    registry = tmp_path / "models" / "registry.yaml"
    own = ["--name", "tiny", "--version", "1", "--registry", str(registry)]
    assert CliRunner().invoke(models, ["register", str(exported), *own]).exit_code == 0
    detector = open_detector(InferenceSettings(model_path=str(exported)), device="cpu", floor=FLOOR, registry=registry)
    assert (detector.labels, detector.input_size) == (("object", "pine", "worker"), (160, 96))
    together = detector.detect([pictures()[1]] * 3)
    assert together == detector.detect([pictures()[1]]) * 3, "any number of pictures at once"
    again = CliRunner().invoke(models, command)
    assert (again.exit_code, "is there already" in again.output) == (2, True)


@pytest.mark.parametrize("words", [["--to", "engine"], ["--half"]])
def test_what_is_exported_on_a_gpu_is_refused_without_one(weights: Path, tmp_path: Path, words: list[str]) -> None:
    if uses_cuda():
        pytest.skip("there is a GPU")
    (tmp_path / "services.yaml").write_text("inference: {allow_pickle_models: true}\n")
    done = CliRunner().invoke(
        models, ["export", str(weights), *words, "--output", str(tmp_path / "out"), "--configs", str(tmp_path)]
    )
    assert (done.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert "on a GPU, and torch sees none" in done.output


def test_a_description_without_weights_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    for name, words in (("net.yaml", "without weights"), ("broken.pt", "does not load")):
        path = tmp_path / name
        path.write_text("nc: 3")
        settings = InferenceSettings(model_path=str(path), detector="ultralytics", allow_pickle_models=True)
        with pytest.raises(BadModel, match=words):
            open_detector(settings, device="cpu", registry=tmp_path / "none")


def test_a_lack_of_memory_is_said_as_such(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    settings = InferenceSettings(model_path=str(weights), allow_pickle_models=True)
    detector = open_detector(settings, device="cpu", floor=FLOOR, registry=weights.parent / "none")

    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(detector._network, "predict", full)  # type: ignore[attr-defined]
    with pytest.raises(OutOfMemory):
        detector.detect(pictures())


def test_a_pt_file_runs_end_to_end_where_it_is_allowed(
    bootstrap: str, prefix: str, topics: dict[str, str], weights: Path
) -> None:
    assert Stage(inference_settings(bootstrap, prefix, weights)).wait() == EXIT_CONFIG
    frames = Frames(bootstrap, topics["frames"])
    for seq in range(6):
        frames.send("yard_a", seq)
    frames.flush()
    with running_stage(inference_settings(bootstrap, prefix, weights, allow_pickle_models=True)) as stage:
        events = [event for _, event in read_events(bootstrap, prefix, 6, seconds=120)]
        assert stage.end() == EXIT_OK
    assert [event.seq for event in events] == list(range(6))
    assert {event.skipped for event in events} == {None}
    assert {event.model.sha256 for event in events} == {sha256_of(weights)}
    assert len({event.detections for event in events}) == 1, "the same picture six times"


def test_a_pt_file_takes_over_from_the_onnx_model_while_frames_come_in(
    bootstrap: str, prefix: str, topics: dict[str, str], weights: Path, tmp_path: Path
) -> None:
    services = tmp_path / "services.yaml"
    services.write_text(f"inference: {{model_path: {MODEL}, device: cpu}}\n")
    settings = load_settings(tmp_path, {}).model_copy(
        update={"kafka": KafkaSettings(bootstrap_servers=bootstrap), "prefix": prefix}
    )
    frames = Frames(bootstrap, topics["frames"])
    with running_stage(settings, environ={}) as stage:
        frames.send("yard_a", 0)
        frames.flush()
        events = read_events(bootstrap, prefix, 1)
        services.write_text(f"inference: {{model_path: {weights}, allow_pickle_models: true}}\n")
        while events[-1][1].model.name == "yard":
            assert len(events) < 300
            frames.send("yard_a", len(events))
            frames.flush()
            events = read_events(bootstrap, prefix, len(events) + 1, seconds=120)
        assert stage.end() == EXIT_OK
    assert [event.seq for _, event in events] == list(range(len(events)))
    assert [event.model.name for _, event in events] == ["yard"] * (len(events) - 1) + ["tiny"]
    assert events[-1][1].model.sha256 == sha256_of(weights)

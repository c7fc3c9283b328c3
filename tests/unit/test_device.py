"""Which processor detects, on machines that are made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.inference import inference
from inference.detectors import device_for
from inference.device import NoDevice, choose, claim, cuda_devices, pick
from runtime.lifecycle import EXIT_CONFIG, EXIT_DEVICE, Stop
from schemas.documents.services import InferenceSettings

CARDS = ("card-a", "card-b")


@pytest.mark.parametrize(
    ("asked", "devices", "numbers"),
    [
        ("cpu", (), ()),
        ("cpu", CARDS, ()),
        ("auto", (), ()),
        ("auto", CARDS, (0, 1)),
        ("cuda", CARDS, (0, 1)),
        ("cuda:1", CARDS, (1,)),
    ],
)
def test_what_answers_to_what_was_asked(asked: str, devices: tuple[str, ...], numbers: tuple[int, ...]) -> None:
    assert choose(asked, devices) == numbers


@pytest.mark.parametrize("asked", ["cuda", "cuda:0"])
def test_a_gpu_where_there_is_none_is_an_error_that_says_so(asked: str) -> None:
    with pytest.raises(NoDevice, match=f"INFERENCE_DEVICE is {asked}, but there is no CUDA device here"):
        choose(asked, ())


def test_a_gpu_beyond_the_last_is_an_error_that_counts_them() -> None:
    with pytest.raises(NoDevice, match="there are 2 CUDA devices here"):
        choose("cuda:2", CARDS)


def test_consumers_on_one_machine_take_different_gpus(tmp_path: Path) -> None:
    with claim("auto", CARDS, tmp_path) as first, claim("cuda", CARDS, tmp_path) as second:
        assert (first.device, second.device) == ("cuda:0", "cuda:1")
        with pytest.raises(NoDevice, match=r"cuda:0 by process \d+ on \S+, cuda:1 by process \d+ on \S+"):
            claim("auto", CARDS, tmp_path)
        with pytest.raises(NoDevice, match="one inference process uses one GPU"):
            claim("cuda:1", CARDS, tmp_path)
    with claim("cuda:1", CARDS, tmp_path) as again:
        assert again.device == "cuda:1"


def test_the_same_card_under_another_number_is_the_same_card(tmp_path: Path) -> None:
    with claim("cuda:1", CARDS, tmp_path), pytest.raises(NoDevice):
        claim("cuda:0", ("card-b",), tmp_path)


def test_the_cpu_is_for_everybody(tmp_path: Path) -> None:
    with claim("auto", (), tmp_path) as first, claim("cpu", CARDS, tmp_path) as second:
        assert (first.device, second.device) == ("cpu", "cpu")


def test_a_process_that_dies_lets_its_gpu_go(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from inference.device import claim;"
        "held = claim('cuda', ('card-a',), pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(NoDevice, match=f"cuda:0 by process {other.pid}"):
            claim("cuda", ("card-a",), tmp_path)
        other.kill()
        other.wait()
    with claim("cuda", ("card-a",), tmp_path) as held:
        assert held.device == "cuda:0"


def test_who_may_share_a_gpu_picks_one_without_claiming_it(tmp_path: Path) -> None:
    with claim("cuda:0", CARDS, tmp_path):
        assert pick("auto", CARDS) == "cuda:0"
    assert pick("auto", ()) == "cpu"


def test_auto_is_the_cpu_where_the_detector_cannot_use_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.detectors.cuda_devices", lambda: CARDS)
    monkeypatch.setattr("inference.detectors.onnx.uses_cuda", lambda: False)
    settings = InferenceSettings(model_path="m.onnx")
    assert device_for(settings) == "cpu"
    assert device_for(settings.model_copy(update={"device": "cuda"})) == "cuda", "what is asked for by name stays"
    monkeypatch.setattr("inference.detectors.onnx.uses_cuda", lambda: True)
    assert device_for(settings) == "auto"


@pytest.mark.parametrize(
    ("device", "code", "words"),
    [("gpu", EXIT_CONFIG, "--device: device: expected text like"), ("cuda", EXIT_DEVICE, "")],
)
def test_the_command_ends_with_a_code_that_tells(
    device: str, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.device.cuda_devices", lambda: ())
    monkeypatch.setattr("cli.inference.configure_logs", lambda _stage: None)
    monkeypatch.setattr("cli.inference.stop_on_signals", Stop)
    result = CliRunner().invoke(inference, ["--configs", str(tmp_path), "--device", device])
    assert result.exit_code == code
    assert words in result.output


def test_this_machine_answers() -> None:
    assert all(isinstance(identity, str) for identity in cuda_devices())

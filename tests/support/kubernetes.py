"""What Kustomize makes of deploy/kubernetes, as the API server would get it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu")
Manifest = dict[str, Any]


def kustomize() -> str:
    """The program; a missing one skips here and fails in CI (.ci/run installs it with Go)."""
    found = shutil.which("kustomize") or shutil.which("kustomize", path=str(Path.home() / "go" / "bin"))
    if found is not None:
        return found
    missing = "needs kustomize (go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@cache
def build(overlay: str) -> tuple[Manifest, ...]:
    """Every manifest of an overlay."""
    return built(FOLDER / "overlays" / overlay)


def built(folder: Path) -> tuple[Manifest, ...]:
    """Every manifest that a folder with a kustomization.yaml makes."""
    done = subprocess.run([kustomize(), "build", str(folder)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    """Those of a kind, by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def pods(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """The pod template of every Deployment and Job, by the name of its stage."""
    for each in manifests:
        if each["kind"] in ("Deployment", "Job"):
            template = each["spec"]["template"]
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector selects something with these labels."""
    expressions = selector.get("matchExpressions", ())
    assert all(each["operator"] == "In" for each in expressions), "teach this the operator"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )

"""`backsight models list|register|verify|promote|rollback|export`."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.table import Table

from cli.options import configs_option, read_settings, refuse, table_console, warn
from inference.detectors import device_for, open_detector
from inference.detectors.ultralytics import export
from inference.device import NoDevice, pick
from inference.model_registry import REGISTRY, BadModel, RegisteredModel, file_of, read_registry
from inference.promotion import Changed, NotPromoted, path_of, promote, roll_back
from inference.registration import entry_of, fault_of_entry, register
from runtime.lifecycle import EXIT_CONFIG
from runtime.settings import environment
from schemas.documents.editing import NotEditable
from schemas.documents.services import InferenceSettings
from schemas.problems import BadDocument

registry_option = click.option(
    "--registry",
    type=click.Path(path_type=Path, dir_okay=False),
    default=REGISTRY,
    metavar="FILE",
    help="Another registry than models/registry.yaml, which is the one that inference reads.",
)


@click.group()
def models() -> None:
    """Register models, check their files, and say which one runs.

    The way of a new version: register it, `backsight replay frames --model FILE` to see what it would have seen,
    promote it. Running workers take it over without losing a frame; /health says which model runs where.

    Exit codes: 0 well, 2 something does not check, or nothing was changed.
    """


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except BadDocument as bad:
        refuse(bad.problems)
    except (BadModel, NoDevice, NotEditable, NotPromoted) as error:
        _refused(str(error))
    except OSError as error:
        _refused(f"{error.filename}: {error.strerror}")


def _refused(reason: str) -> None:
    click.secho(f"error: {reason}", err=True, fg="red")
    sys.exit(EXIT_CONFIG)


@models.command("list")
@configs_option
@registry_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(configs: Path, registry: Path, as_json: bool) -> None:
    """Every registered model; * is the one that the settings name."""
    with _refusing():
        entries = read_registry(registry).models
    settings, _ = read_settings(configs, "")
    named = Path(settings.services.inference.model_path).resolve()
    table = Table("", "name", "version", "labels", "metrics", "licence", "path", box=None, pad_edge=False)
    for entry in entries:
        ours = file_of(entry, registry).resolve() == named
        if as_json:
            click.echo(json.dumps({**entry.model_dump(mode="json"), "promoted": ours}))
            continue
        metrics = ", ".join(f"{name} {value:g}" for name, value in entry.metrics.items())
        shown = (entry.name, entry.version, ", ".join(entry.labels), metrics, entry.licence, path_of(entry, registry))
        table.add_row("*" if ours else "", *shown)
    if not as_json:
        table_console().print(table)


@models.command("register")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Of the model; versions of one model share it.")
@click.option("--version", required=True, help="Never given twice: new weights are a new version.")
@click.option("--labels", metavar="A,B,…", help="In the order of the classes, for a file that does not hold them.")
@click.option("--card", type=click.Path(path_type=Path), help="The model's card: trained on what, measured how.")
@click.option("--metrics", multiple=True, metavar="NAME=NUMBER", help="How well it did; any number of times.")
@click.option("--licence", default="", help="SPDX name of the licence of the weights.")
@registry_option
def register_(
    file: Path,
    name: str,
    version: str,
    labels: str | None,
    card: Path | None,
    metrics: tuple[str, ...],
    licence: str,
    registry: Path,
) -> None:
    """Write FILE into models/registry.yaml: name, version, hash, labels.

    The file lies in models/ already. An ONNX file's labels and input size are read from it.
    """
    with _refusing():
        entry = register(
            file,
            name,
            version,
            labels=[label.strip() for label in labels.split(",")] if labels else (),
            card=card,
            metrics=_numbers(metrics),
            licence=licence,
            registry=registry,
        )
    click.echo(f"registered {entry.name} {entry.version}: sha256 {entry.sha256}")
    if not entry.labels:
        click.secho(f"warning: {file}: tells no labels; --labels names them", err=True, fg="yellow")
    click.echo(f"next: backsight models verify {name} {version} --load")


@models.command()
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--load", is_flag=True, help="Also load each and look at a blank picture with it.")
@click.option("--device", default="cpu", show_default=True, help="Where to load: cpu, cuda, cuda:N.")
@configs_option
@registry_option
def verify(name: str | None, version: str | None, load: bool, device: str, configs: Path, registry: Path) -> None:
    """Hold every registered file (or those of NAME, or that VERSION) against its hash and its labels."""
    with _refusing():
        entries = [each for each in read_registry(registry).models if name in (None, each.name)]
        if name is not None and (version is not None or not entries):
            entries = [entry_of(name, version or "", registry)]  # or what there is instead
    bad = 0
    told = read_settings(configs, "")[0].services.inference if load else None
    for entry in entries:
        fault = fault_of_entry(entry, registry) or (told and _load_fault(entry, told, device, registry))
        bad += bool(fault)
        click.echo(f"{entry.name} {entry.version}: {fault or 'sound'}", err=bool(fault))
    if bad:
        sys.exit(EXIT_CONFIG)


@models.command("promote")
@click.argument("name")
@click.argument("version")
@configs_option
@registry_option
def promote_(name: str, version: str, configs: Path, registry: Path) -> None:
    """Make services.yaml name a registered model, once its file is found to be the registered one.

    Running workers and the API load it and take it over between two batches. What was named before is remembered in
    promoted.jsonl beside services.yaml, for `backsight models rollback`. Where services.yaml is read-only, or
    INFERENCE_MODEL_PATH wins over it, nothing is changed and the exact change is said.
    """
    with _refusing():
        entry = entry_of(name, version, registry)
        changed = promote(entry, configs, environment(), round(time.time() * 1000), registry)
    _tell(changed, configs)


@models.command()
@configs_option
@registry_option
def rollback(configs: Path, registry: Path) -> None:
    """Make services.yaml name what it named before the last promotion; again, and it is the one before that."""
    with _refusing():
        changed = roll_back(configs, environment(), registry)
    _tell(changed, configs)


@models.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--to", type=click.Choice(["onnx", "engine"]), default="onnx", show_default=True, help="engine: TensorRT."
)
@click.option("--output", type=click.Path(path_type=Path), help="[default: beside FILE]")
@click.option("--size", metavar="WIDTHxHEIGHT", help="Of the model's input; multiples of 32. [default: the model's]")
@click.option("--half", is_flag=True, help="FP16; needs a GPU.")
@click.option("--batches", is_flag=True, help="Any number of pictures at once, for detecting on a GPU.")
@configs_option
def export_(
    file: Path, to: str, output: Path | None, size: str | None, half: bool, batches: bool, configs: Path
) -> None:
    """Export a .pt (or other) model through Ultralytics, which is an extra under AGPL-3.0.

    A .pt file is a Python pickle: it is only loaded where services.yaml says inference.allow_pickle_models: true. An
    engine belongs to this kind of GPU and this version of TensorRT.
    """
    told = read_settings(configs, "")[0].services.inference
    target = output or file.with_suffix(f".{to}")
    with _refusing():
        export(
            file,
            to,
            target,
            size=None if size is None else _size(size),
            half=half,
            batches=batches,
            allow_pickle=told.allow_pickle_models,
        )
    click.echo(f"wrote {target}")
    click.echo(f"next: backsight models register {target} --name NAME --version VERSION")


def _size(written: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})", written)
    if found is None or int(found[1]) % 32 or int(found[2]) % 32:
        raise BadModel(f"--size {written}: expected WIDTHxHEIGHT in multiples of 32, as 640x384")
    return int(found[1]), int(found[2])


def _tell(changed: Changed, configs: Path) -> None:
    warn(changed.doubts)
    if changed.before == changed.after:
        click.echo(f"{configs / 'services.yaml'} names {changed.after} already")
        return
    click.echo(f"{configs / 'services.yaml'}: {changed.before} -> {changed.after}")
    click.echo("running workers and the API take it over within seconds; /health says when")


def _numbers(written: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in " ".join(written).split():
        name, equals, number = each.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not name or not equals:
            raise BadModel(f"--metrics {each}: expected NAME=NUMBER")
    return found


def _load_fault(entry: RegisteredModel, told: InferenceSettings, device: str, registry: Path) -> str | None:
    wanted = told.model_copy(update={"model_path": str(file_of(entry, registry)), "detector": "auto", "device": device})
    try:
        open_detector(wanted, device=pick(device_for(wanted)), registry=registry)
    except Exception as error:  # whatever a runtime throws at a file, it is the file's
        return str(error) or type(error).__name__
    return None

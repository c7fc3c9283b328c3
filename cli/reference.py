"""Writes docs/configuration.md from the documents' schemas: `python -m cli.reference`.

With `--check` writes nothing and answers 1 where the page is out of step, or where the code reads a variable that the
page does not have.
"""

import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from inference.model_registry import ModelRegistry
from router.sinks import known_sinks
from runtime.settings import CHECKOUT, KAFKA_VARIABLES, SERVICES_VARIABLES, KafkaSettings
from schemas.documents.cameras import Cameras
from schemas.documents.rois import Rois
from schemas.documents.routes import Routes, SinkDocument
from schemas.documents.services import Services

PAGE: Final = CHECKOUT / "docs" / "configuration.md"

INTRO: Final = """\
# Configuration

Generated from the documents' schemas by `python -m cli.reference`; `make check` compares. `backsight config check` says
every mistake in a folder of documents with its place; unknown keys are refused.

[cameras.yaml](#camerasyaml) · [rois.yaml](#roisyaml) · [services.yaml](#servicesyaml) · [routes.yaml](#routesyaml) ·
[models/registry.yaml](#modelsregistryyaml) · [environment](#environment)
"""


class Written(NamedTuple):
    """A document: its model, and what a reader must know before the keys."""

    document: type[BaseModel]
    words: str


DOCUMENTS: Final = {
    "cameras.yaml": Written(
        Cameras,
        """\
Which cameras there are and how they are read. Ingest follows the file: cameras come and go without a restart. `${NAME}`
is filled from the environment, or from the file that `NAME_FILE` names.""",
    ),
    "rois.yaml": Written(
        Rois,
        """\
What is forbidden where ([rules.md](rules.md)). Goes live with `backsight config apply`, or when `up` starts.
`backsight cameras snapshot ID --rois` shows the polygons in the camera's picture.""",
    ),
    "services.yaml": Written(
        Services, "How the stages run. Read when a stage starts. The [environment](#environment) wins over it."
    ),
    "routes.yaml": Written(
        Routes,
        """\
Who is told of which alerts. The router follows the file; what does not check is refused, and the routes before go on.
Without the file, `alerting.protocol` names the one sink.""",
    ),
    "models/registry.yaml": Written(
        ModelRegistry, "Which model a file is ([models/README.md](../models/README.md)). Read when a model is loaded."
    ),
}

ENVIRONMENT: Final = """\
The process's environment, and `.env` in the current folder, over which it wins. Every `NAME` of the first two tables
may be given as `NAME_FILE=/path`: the file's contents are the value, so that secrets stay out of the environment."""

OTHER_VARIABLES: Final = {
    "BACKSIGHT_CONFIGS": ("folder of the documents; `--configs` wins", "`configs`"),
    "BACKSIGHT_PREFIX": ("begins the name of every topic and consumer group; `--prefix` wins", ""),
    "BACKSIGHT_HEALTH_PORT": ("where a stage serves `/livez /readyz /health /metrics`; `up` chooses ports itself", ""),
    "BACKSIGHT_HEALTH_HOST": ("the address on which it does; `0.0.0.0` in containers", "`127.0.0.1`"),
    "BACKSIGHT_TRACE_RATIO": (
        "the share of frames that are traced, 0 to 1 ([tracing.md](tracing.md)); 0: those that raise an alert",
        "no traces",
    ),
    "BACKSIGHT_REPLICATION": ("copies of new topics", "3 on three brokers or more, else 1"),
    "BACKSIGHT_RULES_SESSION_SECONDS": ("silent for as long, a rules worker is dead; lower risks false deaths", "`15`"),
    "BACKSIGHT_GPU_LOCKS": ("folder in which inference processes claim GPUs; containers share it", "below `TMPDIR`"),
    "BACKSIGHT_SIMULATOR": ("`HOST:PORT` of the cameras of demos/configs; Compose sets it", ""),
    "BACKSIGHT_CACHE": ("where the local Kafka's jars are kept", "`~/.cache/backsight`"),
    "BACKSIGHT_MAVEN_REPOSITORY": ("a Maven repository to fetch those jars from without Maven", ""),
    "BACKSIGHT_SUPERVISOR": ("`up` sets it for its stages: the process with which they end; not for you", ""),
}
"""What is read elsewhere than in `runtime.settings`: what it sets, and its default, both in Markdown."""

_READ: Final = re.compile(r"""["']((?:BACKSIGHT|KAFKA|API|INFERENCE|ALERTING|EVIDENCE|PICTURE|OTEL)_[A-Z_]+)["']""")
_WHOLE: Final = re.compile(r"^The whole of `[^`]+`\. ?")
_NO_VARIABLES: Final = frozenset({"KAFKA_VERSION"})
"""Look like some, and are names of ours."""


def page() -> str:
    """The whole page."""
    parts = [INTRO]
    for name, (document, words) in DOCUMENTS.items():
        parts += [f"## {name}\n\n{words}\n", *sections(document.model_json_schema())]
        if document is Routes:
            parts += _sinks()
    return "\n".join([*parts, *_environment()])


def sections(schema: Mapping[str, Any], title: str = "", without: frozenset[str] = frozenset()) -> Iterator[str]:
    """A table of keys for the document, and one for each part in it that has keys of its own, by its place.

    ``title``: of the document's own section, and after the place of each part. ``without``: keys told elsewhere.
    """
    defs = schema.get("$defs", {})
    seen: set[str] = set()

    def walk(part: Mapping[str, Any], place: str, without: frozenset[str] = frozenset()) -> Iterator[str]:
        if place or title:
            yield f"### {f'`{place}`' if place else ''}{' of ' if place and title else ''}{title}\n"
        if words := _prose(part.get("description", "")):
            yield words + "\n"
        keys = {key: value for key, value in part.get("properties", {}).items() if key not in without}
        if keys:
            yield _table(keys, part.get("required", ()), defs)
        for key, value in keys.items():
            for name, many in _parts(value):
                if name not in seen and "properties" in defs[name]:
                    seen.add(name)
                    yield from walk(defs[name], f"{place}.{key}{many}".lstrip("."))

    yield from walk(schema, "", without)


def _parts(value: Mapping[str, Any], many: str = "") -> Iterator[tuple[str, str]]:
    """The named parts that a key may hold, each with `[]` where it holds several."""
    if "$ref" in value:
        yield value["$ref"].rsplit("/", 1)[-1], many
    for each in (*value.get("anyOf", ()), *value.get("oneOf", ()), *value.get("allOf", ())):
        yield from _parts(each, many)
    for each in ("items", "additionalProperties"):
        if isinstance(value.get(each), dict):
            yield from _parts(value[each], "[]")


def _table(keys: Mapping[str, Any], needed: Collection[str], defs: Mapping[str, Any]) -> str:
    lines = ["| key | what | default | |", "|---|---|---|---|"]
    for key, value in keys.items():
        default = "**needed**" if key in needed else _default(value)
        lines.append(_row(f"`{key}`", kind(value, defs), default, _prose(value.get("description", ""))))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def kind(value: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """What a key holds, in words."""
    if "$ref" in value:
        named = defs[value["$ref"].rsplit("/", 1)[-1]]
        return "see below" if "properties" in named else kind(named, defs)
    several = [each for each in (*value.get("anyOf", ()), *value.get("oneOf", ())) if each.get("type") != "null"]
    if several:
        kinds = list(dict.fromkeys(kind(each, defs) for each in several))
        if len(kinds) == 2 and kinds[0] == f"list: {kinds[1]}":
            return f"one, or a {kinds[0]}"
        return " or ".join(kinds)
    if "enum" in value or "const" in value:
        return ", ".join(f"`{_scalar(each)}`" for each in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        if "prefixItems" in value:
            return f"[{', '.join(kind(each, defs) for each in value['prefixItems'])}]"
        return f"list: {kind(value.get('items', {}), defs)}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"map: {kind(inner, defs)}" if isinstance(inner, dict) else "map"
    bounds = _bounds(value)
    if value.get("type") in ("integer", "number"):
        return f"{'whole number' if value['type'] == 'integer' else 'number'}{bounds}"
    if value.get("type") == "boolean":
        return "true or false"
    if value.get("format") == "date-time":
        return "instant with its zone"
    if value.get("writeOnly"):
        return "secret text"
    return f"text like `{value['pattern']}`" if "pattern" in value else "text"


def _bounds(value: Mapping[str, Any]) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {value[key]:g}" for key, sign in words.items() if key in value]
    return f" {', '.join(found)}" if found else ""


def _default(value: Mapping[str, Any]) -> str:
    if "default" not in value or isinstance(value["default"], dict) or value["default"] in (None, [], ""):
        return ""
    return f"`{_scalar(value['default'])}`"


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _prose(text: str) -> str:
    """A docstring or a description on one line, code in single backticks."""
    return re.sub(r"``([^`]+)``", r"`\1`", _WHOLE.sub("", " ".join(text.split())))


def _sinks() -> Iterator[str]:
    """What every sink has, and each kind's own keys."""
    shared = SinkDocument.model_json_schema()
    yield from sections(shared, "`sinks[]`")
    for name, sink in sorted(known_sinks().items()):
        schema = sink.document.model_json_schema()
        same = {key for key, value in shared["properties"].items() if schema["properties"].get(key) == value}
        yield from sections(schema, f"the sink [`{name}`](sinks/{name}.md)", frozenset({*same, "kind"}))


def _environment() -> Iterator[str]:
    """Every variable: those that win over services.yaml, Kafka's, the rest."""
    services, kafka = Services.model_json_schema(), KafkaSettings.model_json_schema()
    yield f"## environment\n\n{ENVIRONMENT}\n"
    lines = ["| variable | wins over | what | default |", "|---|---|---|---|"]
    for variable, (section, key) in sorted(SERVICES_VARIABLES.items()):
        value = services["$defs"][services["properties"][section]["$ref"].rsplit("/", 1)[-1]]["properties"][key]
        lines.append(_row(f"`{variable}`", f"`{section}.{key}`", kind(value, services["$defs"]), _default(value)))
    lines += ["", "| variable | how to reach Kafka | default |", "|---|---|---|"]
    for variable, key in KAFKA_VARIABLES.items():
        value = kafka["properties"][key]
        lines.append(_row(f"`{variable}`", kind(value, {}), _default(value)))
    lines += ["", "| variable | what it sets | default |", "|---|---|---|"]
    lines += [_row(f"`{variable}`", *words) for variable, words in OTHER_VARIABLES.items()]
    yield "\n".join(lines) + "\n"


def unknown_variables(page: str) -> set[str]:
    """Variables that the code reads and the page does not have."""
    packages = [folder for folder in CHECKOUT.iterdir() if (folder / "__init__.py").exists() and folder.name != "tests"]
    read = {
        name.removesuffix("_FILE")
        for folder in packages
        for file in folder.rglob("*.py")
        for name in _READ.findall(file.read_text(encoding="utf-8"))
    }
    return {name for name in read - _NO_VARIABLES if f"`{name}`" not in page and f"`{name}_FILE`" not in page}


def main(arguments: list[str], target: Path = PAGE) -> int:
    """Writes, or with `--check` compares."""
    text = page()
    if missing := unknown_variables(text):
        sys.stderr.write(f"cli/reference.py: OTHER_VARIABLES lacks {', '.join(sorted(missing))}: say what it sets\n")
        return 1
    if "--check" in arguments:
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"docs/{target.name} is out of step; run `python -m cli.reference`\n")
            return 1
        return 0
    target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

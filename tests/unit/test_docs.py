"""What the pages say is there: links lead somewhere, and commands and their options exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from cli.main import main
from router.configuration import load_router
from router.sinks import open_sink
from runtime.configs import check_configs
from runtime.settings import redis_notice
from schemas.documents.reading import read_document, read_yaml
from schemas.documents.routes import Routes

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/*.md"), *ROOT.glob("models/**/*.md")]
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def linked(page: Path) -> set[Path]:
    targets = {target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))}
    return {(page.parent / target).resolve() for target in targets if target.endswith(".md")}


def test_every_page_is_reached_from_the_index() -> None:
    reached: set[Path] = set()
    ahead = {ROOT / "README.md", ROOT / "docs" / "README.md"}
    while ahead:
        reached |= ahead
        ahead = {found for page in ahead for found in linked(page) if found.exists()} - reached
    lost = set((ROOT / "docs").glob("**/*.md")) - reached - set((ROOT / "docs" / "decisions").iterdir())
    assert {str(page.relative_to(ROOT)) for page in lost} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/from-redis.md"])
def test_the_routes_of_a_page_are_taken(page: str) -> None:
    blocks = re.findall(
        r"^```yaml\n(sinks:.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    secrets = {"DESK_URL": "https://desk.example/x", "DESK_SECRET": "whsec_" + "A" * 32, "NVR_PASSWORD": "x"}
    environ = {**secrets, "REDIS_URL": "redis://:x@redis:6379/0"}
    assert len(blocks) == 1
    routes = read_document(Routes, read_yaml(blocks[0], "routes.yaml"), "routes.yaml")
    assert routes.problems() == []
    for sink in routes.sinks:
        assert open_sink(sink, "sinks", environ).kind == sink["kind"]


def test_an_older_installations_files_are_read_as_they_are(tmp_path: Path) -> None:
    """Those that docs/from-redis.md says stay the same."""
    (tmp_path / "cameras.yaml").write_text("""
cameras:
  - id: cam_nave3_hornos
    name: "Nave 3 Hornos B CAM 3"
    rtsp_url: "rtsp://admin:${CAM_PASSWORD}@192.168.1.10:554/Streaming/Channels/101"
    enabled: true
    fps_target: 5.0
""")
    (tmp_path / "rois.yaml").write_text("""
cameras:
  - camera_id: cam_nave3_hornos
    forbidden_rois:
      - name: loading_zone
        points: [[100, 100], [500, 100], [500, 400], [100, 400]]
    allowed_classes: [pine, worker]
    alert_classes: [object]
""")
    environ = {
        "CAM_PASSWORD": "x",
        "REDIS_URL": "redis://:hunter2@redis:6379/0",
        "INFERENCE_DEVICE": "cpu",
        "INFERENCE_CONFIDENCE": "0.3",
        "INFERENCE_BATCH_SIZE": "4",
        "INFERENCE_MODEL_PATH": "models/yard/yard-2.onnx",
        "ALERTING_PROTOCOL": "webhook",
        "ALERTING_WEBHOOK_URL": "https://desk.example/alerts",
        "API_HOST": "127.0.0.1",
        "API_PORT": "8080",
    }
    checked = check_configs(tmp_path, environ)
    assert checked.problems == []
    assert checked.settings is not None
    told = checked.settings.services
    assert (told.inference.device, told.inference.batch_size, told.rules.min_confidence) == ("cpu", 4, 0.3)
    assert (told.alerting.protocol, told.api.port) == ("webhook", 8080)
    assert "Kafka takes the place of Redis" in (redis_notice(environ) or "")
    again = check_configs(tmp_path, environ | {"ALERTING_PROTOCOL": "redis"}).settings
    assert again is not None
    assert [sink.kind for sink in load_router(again, environ).sinks] == ["redis"]
    assert redis_notice(environ | {"ALERTING_PROTOCOL": "redis"}) is None


# ---- commands


def commands(page: Path) -> Iterator[str]:
    """Everything in code that calls `backsight`, without what follows a pipe or a comment."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(found.group().replace("\\\n", " ") for found in FENCE.finditer(text))
    indented = "\n".join(re.findall(r"^ {4,}backsight .*$", text, re.MULTILINE))
    inline = [" ".join(each.split()) for each in CODE.findall(FENCE.sub("", text))]
    for line in (*blocks.splitlines(), *indented.splitlines(), *inline):
        found = re.match(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:docker compose exec \S+ )?(?:\S*/)?backsight (.+)$", line)
        if found:
            yield re.split(r" \| | # |\s#|;|&&| > ", found[1])[0].strip()


def wrong(command: str) -> str | None:
    """What the command line has not, or None. `a|b` stands for either, `…` and capitals for anything."""
    for choice in _either(command):
        here: click.Command = main
        for token in choice:
            context = click.Context(here)
            if isinstance(here, click.Group) and not token.startswith(("-", "…", "[")) and not token.isupper():
                found = here.get_command(context, token)
                if found is None:
                    return f"{here.name} has no {token!r}"
                here = found
            elif re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", token) and token not in ("-h", "--help"):
                known = {each for option in here.params for each in (*option.opts, *option.secondary_opts)}
                if token.split("=")[0] not in known | {"--version"}:
                    return f"{here.name} has no {token}"
    return None


def _either(command: str) -> Iterator[list[str]]:
    tokens = [token.strip("(),.\"'`") for token in command.split()]
    for place, token in enumerate(tokens):
        if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", token):
            for each in token.split("|"):
                yield [*tokens[:place], each, *tokens[place + 1 :]]
            return
    yield tokens


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    assert [f"backsight {each}: {said}" for each in commands(page) if (said := wrong(each))] == []


def test_a_command_that_is_not_there_would_be_seen() -> None:
    assert wrong("doctor --jsno") == "doctor has no --jsno"
    assert wrong("kafka up|dwon --data x") == "kafka has no 'dwon'"
    assert wrong("alerts tail -f") is None
    assert wrong("replay …") is None
    assert wrong("cameras probe URL_OR_ID --seconds=2") is None
    found = list(commands(ROOT / "README.md"))
    assert len(found) > 15
    assert "alerts tail -f" in found

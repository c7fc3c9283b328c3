"""What the router is told: routes.yaml with its places, or one line of the environment; and what the CLI says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from router.configuration import contents, load_router, named_sink
from router.routing import legs
from runtime.settings import load_settings
from schemas.problems import BadDocument

ROUTES = """
sinks:
  - {name: desk, kind: webhook, url: "http://user:${DESK_PASSWORD}@127.0.0.1:9/hook"}
  - {name: screen, kind: stdout}
  - {name: spare, kind: stdout}
route:
  sinks: [screen]
  routes:
    - {name: night, match: [severity = critical, site = north], sinks: [desk, screen]}
"""
CAMERAS = """
cameras:
  - {id: gate_1, url: "rtsp://${GATE}@10.0.0.1/1", site: north}
  - {id: gate_2, url: "rtsp://10.0.0.2/1"}
"""
SECRET = "hunter2"


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    (tmp_path / "cameras.yaml").write_text(CAMERAS)
    return tmp_path


def load(configs: Path, **environ: str):
    return load_router(load_settings(configs, environ), environ)


def test_routes_yaml_wins_over_the_one_line(configs: Path) -> None:
    told = load(configs, DESK_PASSWORD=SECRET, ALERTING_PROTOCOL="webhook", BACKSIGHT_SITE="south")
    assert told.words == "routes.yaml"
    assert [sink.name for sink in told.sinks] == ["desk", "screen"]
    assert [sink.name for sink in told.unused] == ["spare"]
    assert [str(each) for each in told.warnings] == ["routes.yaml: sinks[2]: no route tells spare"]
    assert (told.site_of("gate_1"), told.site_of("gate_2")) == ("north", "south")
    assert [leg.sink for leg in legs(told.tree, {"severity": "critical", "site": "north"})] == ["desk", "screen"]


def test_a_changed_secret_is_a_change_of_the_document_that_names_it_and_of_no_other(configs: Path) -> None:
    file = configs / "password"
    environ = {"DESK_PASSWORD_FILE": str(file), "GATE": "one"}
    before = {name: contents(configs / name, environ) for name in ("routes.yaml", "cameras.yaml")}
    file.write_text(SECRET)
    environ["GATE"] = "two"
    assert contents(configs / "routes.yaml", environ) != before["routes.yaml"]
    assert contents(configs / "cameras.yaml", environ) == before["cameras.yaml"]
    file.unlink()
    assert contents(configs / "routes.yaml", environ) == before["routes.yaml"], (
        "one that is missing is no reason to end"
    )


def test_without_routes_yaml_the_protocol_names_the_sink(tmp_path: Path) -> None:
    told = load(tmp_path, ALERTING_PROTOCOL="webhook", ALERTING_WEBHOOK_URL="http://host/x")
    assert (told.words, [sink.name for sink in told.sinks]) == ("ALERTING_PROTOCOL=webhook", ["webhook"])
    settings = load_settings(tmp_path, {})
    assert named_sink(settings, {}, "stdout").kind == "stdout"
    with pytest.raises(BadDocument, match="expected one of"):
        named_sink(settings, {}, "pigeon")
    with pytest.raises(BadDocument, match="ALERTING_WEBHOOK_URL: is needed for the protocol webhook"):
        load(tmp_path, ALERTING_PROTOCOL="webhook")


def test_every_mistake_is_named_with_its_place_and_without_the_secret(configs: Path) -> None:
    (configs / "routes.yaml").write_text(
        "sinks:\n"
        f"  - {{name: desk, kind: webhook, url: 'nonsense-{SECRET}'}}\n"
        "  - {name: desk, kind: pigeon}\n"
        "  - {name: far, kind: webhook, url: '${MISSING}', colour: red}\n"
        "route: {sinks: [desk, nobody], routes: [{match: ['roi =~ (']}]}\n"
    )
    with pytest.raises(BadDocument) as caught:
        load(configs)
    places = sorted(problem.place for problem in caught.value.problems)
    assert places == [
        "routes.yaml: route.routes[0].match[0]",
        "routes.yaml: route.sinks",
        "routes.yaml: sinks[0].url",
        "routes.yaml: sinks[1].kind",
        "routes.yaml: sinks[1].name",
        "routes.yaml: sinks[2].url",
    ]
    assert SECRET not in str(caught.value)


def test_a_wrong_tree_hides_no_wrong_sink(configs: Path) -> None:
    (configs / "routes.yaml").write_text(
        "sinks: [{name: a, kind: stdout, colour: red}, 3]\nroute: {sinks: [a], repeat_interval: 4h}\n"
    )
    with pytest.raises(BadDocument) as caught:
        load(configs)
    assert sorted(problem.place for problem in caught.value.problems) == [
        "routes.yaml: route.repeat_interval",
        "routes.yaml: sinks[0].colour",
        "routes.yaml: sinks[1]",
    ]
    (configs / "routes.yaml").write_text("sinks: {a: {kind: stdout}}\nroute: [a]\n")
    with pytest.raises(BadDocument, match=r"sinks: expected a list"):
        load(configs)


def test_allowed_targets_hold_for_every_kind_that_connects_somewhere(configs: Path) -> None:
    sinks = """
sinks:
  - {name: a, kind: webhook, url: "http://10.1.2.3/x"}
  - {name: b, kind: mqtt, url: "mqtt://10.1.2.3"}
  - {name: c, kind: redis, url: "redis://10.1.2.3"}
  - {name: d, kind: hikvision, url: "http://10.1.2.3"}
  - {name: e, kind: alertmanager, url: "http://10.1.2.3"}
  - {name: f, kind: kafka, bootstrap_servers: "10.9.2.3:9092,[fd00::1]:9092", topic: t}
route: {sinks: [a, b, c, d, e, f]}
"""
    (configs / "routes.yaml").write_text("allowed_targets: [desk.plant, 10.9.0.0/16]" + sinks)
    with pytest.raises(BadDocument) as caught:
        load(configs)
    assert [str(problem) for problem in caught.value.problems] == [
        "routes.yaml: sinks[0].url: is 10.1.2.3, which is not in allowed_targets",
        "routes.yaml: sinks[1]: 10.1.2.3 is not in allowed_targets",
        "routes.yaml: sinks[2]: 10.1.2.3 is not in allowed_targets",
        "routes.yaml: sinks[3]: 10.1.2.3 is not in allowed_targets",
        "routes.yaml: sinks[4].url: is 10.1.2.3, which is not in allowed_targets",
        "routes.yaml: sinks[5]: fd00::1 is not in allowed_targets",
    ]
    (configs / "routes.yaml").write_text("allowed_targets: [10.0.0.0/8, 'fd00::/8']" + sinks)
    assert len(load(configs).sinks) == 6
    (configs / "routes.yaml").write_text("allowed_targets: [10.0.0.0/8, 'https://x']" + sinks)
    with pytest.raises(BadDocument) as caught:
        load(configs)
    assert [problem.place for problem in caught.value.problems] == ["routes.yaml: allowed_targets[1]"]


def test_a_secret_in_the_file_itself_is_warned_of_and_not_shown(configs: Path) -> None:
    text = ROUTES.replace("${DESK_PASSWORD}", SECRET)
    (configs / "routes.yaml").write_text(text)
    warnings = [str(each) for each in load(configs).warnings]
    assert any(each.startswith("routes.yaml: sinks[0].url: holds a secret") for each in warnings)
    assert SECRET not in "".join(warnings)


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://desk.example/hook", False),
        ("https://desk.example/v1/alerts/of-the-north-eastern-yard", False),
        ("https://hooks.example/services/T0ABCDEFG/B0ABCDEFG/a1B2c3D4e5F6g7H8i9J0k1L2", True),
        ("https://desk.example/hook?token=x", True),
        ("https://desk.example/${TOKEN}/a1B2c3D4e5F6g7H8i9J0k1L2", False),
    ],
)
def test_a_token_in_a_url_is_warned_of(configs: Path, url: str, warned: bool) -> None:
    (configs / "routes.yaml").write_text(f"sinks: [{{name: a, kind: webhook, url: '{url}'}}]\nroute: {{sinks: [a]}}\n")
    said = [str(each) for each in load(configs, TOKEN="x").warnings]
    assert any("holds a secret in plain text" in each for each in said) is warned
    assert "a1B2" not in "".join(said)


def run(configs: Path, *arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--configs", str(configs)], env={"DESK_PASSWORD": SECRET, **environ})


def test_the_command_line_says_who_would_be_told(configs: Path) -> None:
    north = run(configs, "routes", "test", "--label", "camera=gate_1", "--label", "severity=critical")
    assert north.stdout.splitlines() == ["desk (webhook) by route/night", "screen (stdout) by route/night"]
    other = run(configs, "routes", "test", "--label", "camera=gate_2", "--label", "severity=critical")
    assert other.stdout.splitlines() == ["screen (stdout) by route"]
    wrong = run(configs, "routes", "test", "--label", "colour=red")
    assert wrong.exit_code == 2
    assert "expected NAME=VALUE" in wrong.stderr


def test_the_command_line_says_what_does_not_hold_now_and_what_there_is_not(configs: Path) -> None:
    (configs / "routes.yaml").write_text(
        """
time_intervals:
  - {name: always, ranges: [{timezone: UTC}]}
sinks:
  - {name: nvr, kind: hikvision, url: "http://127.0.0.1:9"}
  - {name: screen, kind: stdout}
route:
  sinks: [nvr, screen]
  routes:
    - {match: [severity = info], mute: [always]}
    - {match: ["camera =~ [/a-z]+_[0-9]"], active: [always], sinks: [screen]}
"""
    )
    muted = run(configs, "routes", "test", "--label", "severity=info", "--label", "camera=x")
    assert "not at this hour" in muted.stdout.splitlines()[0]
    told = run(configs, "routes", "test", "--label", "severity=warning", "--label", "camera=gate_1")
    assert told.stdout.splitlines() == ["screen (stdout) by route/1"]
    system = run(configs, "routes", "test", "--label", "kind=system", "--label", "severity=critical")
    assert system.stdout.splitlines() == ["screen (stdout) by route"], "nothing is moved for our own troubles"
    wrong = run(configs, "routes", "test", "--label", "severity=high")
    assert (wrong.exit_code, "expected one of info, warning, critical" in wrong.stderr) == (2, True)
    checked = run(configs, "routes", "check")
    assert "camera =~ [/a-z]+_[0-9] → screen" in checked.stdout, checked.output
    (configs / "routes.yaml").unlink()
    assert "(there is no" in run(configs, "routes", "check").stdout, "a misspelt folder shows"


def test_the_command_line_checks_and_lists(configs: Path) -> None:
    checked = run(configs, "routes", "check")
    assert checked.exit_code == 0, checked.output
    assert "severity = critical, site = north → desk, screen" in checked.stdout
    listed = run(configs, "sinks", "list")
    assert [line.split()[0] for line in listed.stdout.splitlines() if "stdout" in line or "webhook" in line][:3] == [
        "desk", "screen", "spare",
    ]  # fmt: skip
    assert SECRET not in checked.output + listed.output
    (configs / "routes.yaml").write_text("route: {sinks: [nobody]}\n")
    refused = run(configs, "routes", "check")
    assert (refused.exit_code, "there is no sink 'nobody'" in refused.stderr) == (2, True)


def test_a_test_alert_goes_through_the_sink_for_real(configs: Path) -> None:
    printed = run(configs, "sinks", "test", "screen")
    assert printed.exit_code == 0
    assert printed.stdout.count('"label":"test"') == 2
    nobody = run(configs, "sinks", "test", "desk")
    assert nobody.exit_code == 1
    assert "desk: test alert opened: unreachable" in nobody.stderr
    assert SECRET not in nobody.output
    assert run(configs, "sinks", "test", "pigeon").exit_code == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--for", "2x"], "--for: '2x' is no length of time; expected 30m, 2h, 1d"),
        (["--for", "-2h"], "--for: '-2h' is no length of time"),
        (["--for", "1h", "--from", "soon"], "--from: 'soon' is no instant"),
        (["--until", "soon"], "--until: 'soon' is no instant"),
        (["--until", "-2h"], "in the future"),
        ([], "a silence needs an end"),
    ],
)
def test_a_silence_that_cannot_be_meant_says_which_option(configs: Path, options: list[str], said: str) -> None:
    refused = run(configs, "silences", "add", "--match", "camera = a", "--comment", "x", *options)
    assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr

"""Tokens at rest, and `backsight tokens`."""

import hashlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.pace import MOST, Pace
from api.tokens import FIRST, BadToken, TokenFile, Tokens
from cli.main import main
from runtime.lifecycle import EXIT_CONFIG
from schemas.problems import BadDocument

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / "some" / "tokens.json")


def run(file, *arguments):
    return CliRunner().invoke(main, ["tokens", *arguments], env={"API_TOKENS_FILE": str(file.path)})


def test_of_a_token_the_hash_alone_is_kept_for_the_owner_alone(file):
    secret = file.create("ana", ["read"], None, None, 5)
    assert len(secret) - len("bst_") >= 128 / 6, "at least 128 bit"
    written = file.path.read_text()
    assert secret not in written
    assert secret[4:] not in written
    assert json.loads(written)["tokens"][0]["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert secret != file.create("ben", ["read"], None, None, 5)


def test_the_first_token_is_made_once_whatever_became_of_it(file):
    made = file.first(5)
    found = Tokens(file).find(made)
    assert (found.name, found.roles, found.cameras) == (FIRST, ("admin",), None)
    assert file.first(6) is None
    file.revoke(FIRST)
    assert file.first(7) is None, "somebody took it away on purpose"
    assert Tokens(file).needed


def test_a_file_that_is_there_is_only_read_at_the_start(file):
    """A secret that is mounted lies in a folder that nobody may write to."""
    file.create("ana", ["read"], None, None, 5)
    (file.path.parent / "tokens.json.lock").unlink()
    assert file.first(6) is None
    assert [each.name for each in file.path.parent.iterdir()] == ["tokens.json"]


def test_of_many_who_write_at_once_nobody_is_forgotten(file):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: file.create(f"t{number}", ["infer"], None, None, 0), range(40)))
    assert {each.name for each in file.read()} == {f"t{number}" for number in range(40)}
    assert {each.name for each in file.path.parent.iterdir()} == {"tokens.json", "tokens.json.lock"}


@pytest.mark.parametrize("name", ["", "a b", "-x", "a" * 65, "a\nb", "é"])
def test_a_name_that_is_none_is_refused(file, name):
    with pytest.raises(BadToken):
        file.create(name, ["read"], None, None, 0)
    assert file.read() is None


@pytest.mark.parametrize("spoilt", [b"[]", b"{", b"\xff", b'{"tokens": [], "more": 1}'])
def test_a_file_that_does_not_check_is_said_with_its_place_and_stays(file, spoilt):
    file.path.parent.mkdir()
    file.path.write_bytes(spoilt)
    for attempt in (file.read, lambda: file.create("ana", ["read"], None, None, 0), lambda: Tokens(file)):
        with pytest.raises(BadDocument, match=re.escape("(API_TOKENS_FILE)")):
            attempt()
    assert file.path.read_bytes() == spoilt


def test_the_command_makes_lists_and_revokes(file):
    assert "no tokens" in run(file, "list").stdout
    made = run(file, "create", "wall", "--role", "read", "--camera", "gate_1", "--camera", "gate_2", "--days", "7")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert Tokens(file).find(secret).cameras == ("gate_1", "gate_2")
    run(file, "create", "robot", "--role", "infer", "--role", "read")
    shown = run(file, "list").stdout
    assert "wall" in shown
    assert "gate_1, gate_2" in shown
    assert "infer, read" in shown
    assert secret not in shown
    assert hashlib.sha256(secret.encode()).hexdigest() not in shown
    twice = run(file, "create", "wall", "--role", "admin")
    assert (twice.exit_code, "already" in twice.stderr) == (EXIT_CONFIG, True)
    assert run(file, "revoke", "wall").exit_code == 0
    assert Tokens(file).find(secret) is None
    assert run(file, "revoke", "wall").exit_code == EXIT_CONFIG
    assert run(file, "create", "x", "--role", "king").exit_code == 2


def test_a_folder_that_cannot_be_written_is_an_error_with_its_place(tmp_path):
    (tmp_path / "plain").write_text("a file where the folder would be")
    refused = run(TokenFile(tmp_path / "plain" / "tokens.json"), "create", "ana", "--role", "read")
    assert refused.exit_code == EXIT_CONFIG
    assert "API_TOKENS_FILE" in refused.stderr


def test_every_token_is_compared_in_constant_time():
    """What cannot be measured reliably is held by reading the code."""
    source = (ROOT / "api" / "tokens.py").read_text()
    assert source.count("compare_digest") == 1
    assert "break" not in source.split("def find")[1].split("def _refresh")[0]


def test_the_log_says_a_token_once_and_never_by_accident(tmp_path):
    """In a process of its own: logging is the whole process's."""
    program = (
        "from runtime.logs import OnPurpose, configure_logs, get_logger\n"
        "configure_logs('api', readable=False)\n"
        "token = 'bst_' + 'a' * 43\n"
        "get_logger('x').info('made', token=OnPurpose(token))\n"
        "get_logger('x').info('seen', token=token, words=f'sent {token}', header=f'Authorization: Bearer {token}',"
        " deep=[{'t': token}], error=ValueError(token))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    made, seen = ended.stderr.splitlines()
    assert json.loads(made)["token"] == "bst_" + "a" * 43
    assert "aaaa" not in seen


def test_a_pace_lets_a_burst_through_and_then_so_many_a_second():
    pace = Pace(2, 3)
    assert [pace.wait("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert pace.wait("b", 0) == 0
    assert pace.wait("a", 0.5) == 0
    assert pace.wait("a", 0.5) == 0.5
    assert [pace.wait("a", 100) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_pace_remembers_a_bounded_number():
    pace = Pace(0.001, 2)
    for number in range(MOST + 50):
        pace.wait(str(number), 0)
    assert len(pace._left) <= MOST

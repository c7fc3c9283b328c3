"""The sink `file` on real file systems, full ones too."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router.configuration import load_router
from router.retry import ACCEPTED, Answer
from router.sinks import open_sink
from runtime.settings import Settings
from schemas.problems import BadDocument
from tests.support.alerts import resolved
from tests.support.telling import Telling, attempt, both, fresh, in_company, notice


def file_sink(path: Path, **more):
    return open_sink({"name": "ours", "kind": "file", "path": str(path), **more}, "sinks[0]", {})


def lines(*paths: Path) -> list[dict]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def old_files(folder: Path) -> list[Path]:
    return sorted((each for each in folder.iterdir() if each.name != "a.jsonl"), key=lambda each: each.stat().st_mtime)


async def test_each_phase_is_a_line_with_its_id_in_order(tmp_path):
    sink = file_sink(tmp_path / "a.jsonl")
    told = [each for number in range(20) for each in both(number)]
    telling = Telling(sink)
    telling.offer(told)
    assert set(await telling.all_ended(40)) == {"delivered"}
    found = lines(tmp_path / "a.jsonl")
    assert sorted(each["id"] for each in found) == sorted(each.delivery_id for each in told)
    for alert_id in {each["data"]["alert_id"] for each in found}:
        assert [each["type"] for each in found if each["data"]["alert_id"] == alert_id] == [
            "alert.opened",
            "alert.resolved",
        ]
    await sink.close()


async def test_a_company_is_a_line_each(tmp_path):
    sink = file_sink(tmp_path / "a.jsonl", fsync=True)
    company = in_company([fresh(0), fresh(1), resolved(fresh(2))])
    assert await attempt(sink, company) == ACCEPTED
    assert [each["id"] for each in lines(tmp_path / "a.jsonl")] == [each.delivery_id for each in company.members]
    await sink.close()


async def test_it_may_be_told_again_after_it_was_closed(tmp_path):
    sink = file_sink(tmp_path / "a.jsonl")
    told = notice(fresh())
    assert await attempt(sink, told) == ACCEPTED
    await sink.close()
    assert await attempt(sink, told) == ACCEPTED
    assert [each["id"] for each in lines(tmp_path / "a.jsonl")] == [told.delivery_id] * 2
    await sink.close()


@pytest.mark.parametrize("mode", ["0640", "664", "0600"])
async def test_new_files_have_the_mode_whatever_the_umask(tmp_path, mode):
    sink = file_sink(tmp_path / "a.jsonl", mode=mode)
    before = os.umask(0o077)
    try:
        await attempt(sink, notice(fresh()))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.jsonl").stat().st_mode) == int(mode, 8)
    await sink.close()


@pytest.mark.parametrize("mode", [640, 0o640, "rw-r-----", "0777", "0440", "0x64", ""])
def test_a_mode_that_is_none_is_refused(tmp_path, mode):
    with pytest.raises(BadDocument, match=r"sinks\[0\].mode: expected octal digits in quotes"):
        file_sink(tmp_path / "a.jsonl", mode=mode)


async def test_it_is_rotated_by_size_and_keeps_so_many(tmp_path):
    sink = file_sink(tmp_path / "a.jsonl", rotate_bytes=2048, keep=3)
    told = [notice(fresh(number)) for number in range(40)]
    for each in told:
        assert await attempt(sink, each) == ACCEPTED
    old = old_files(tmp_path)
    assert len(old) == 3
    assert all(path.stat().st_size <= 2048 for path in tmp_path.iterdir())
    kept = [each["id"] for each in lines(*old, tmp_path / "a.jsonl")]
    assert kept == [each.delivery_id for each in told[-len(kept) :]]
    await sink.close()


async def test_a_new_day_begins_a_new_file(tmp_path):
    sink = file_sink(tmp_path / "a.jsonl")
    told = [notice(fresh(number)) for number in range(2)]
    await attempt(sink, told[0])
    yesterday = time.time() - 86_400
    os.utime(tmp_path / "a.jsonl", (yesterday, yesterday))
    await attempt(sink, told[1])
    day = time.strftime("%Y-%m-%d", time.gmtime(yesterday))
    assert [each["id"] for each in lines(tmp_path / f"a-{day}.1.jsonl")] == [told[0].delivery_id]
    assert [each["id"] for each in lines(tmp_path / "a.jsonl")] == [told[1].delivery_id]
    await sink.close()


async def test_a_file_that_was_moved_away_is_made_again(tmp_path):
    sink = file_sink(tmp_path / "a.jsonl")
    await attempt(sink, notice(fresh()))
    (tmp_path / "a.jsonl").rename(tmp_path / "taken")
    told = notice(fresh(1))
    assert await attempt(sink, told) == ACCEPTED
    assert [each["id"] for each in lines(tmp_path / "a.jsonl")] == [told.delivery_id]
    await sink.close()


async def test_a_line_that_a_crash_cut_does_not_spoil_the_next(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "cut')
    sink = file_sink(tmp_path / "a.jsonl")
    told = notice(fresh())
    assert await attempt(sink, told) == ACCEPTED
    cut, whole = (tmp_path / "a.jsonl").read_text().splitlines()
    assert (cut, json.loads(whole)["id"]) == ('{"id": "cut', told.delivery_id)
    await sink.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False)
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_full_disk_is_waited_for_and_no_acknowledged_line_is_lost(small_disk):
    (small_disk / "ballast").write_bytes(b"x" * 40_000)
    sink = file_sink(small_disk / "a.jsonl")
    told = [notice(fresh(number)) for number in range(60)]
    answers = {each.delivery_id: await attempt(sink, each) for each in told}
    taken = [name for name, answer in answers.items() if answer == ACCEPTED]
    assert 10 < len(taken) < 60
    assert set(answers.values()) == {ACCEPTED, Answer("later", "broken", "No space left on device")}
    assert [each["id"] for each in lines(small_disk / "a.jsonl")] == taken  # nothing of the others, not even a part
    telling = Telling(sink)
    telling.offer(each for each in told if each.delivery_id not in taken)
    await telling.until(lambda so_far: len(so_far.answers) >= 3)
    assert telling.ended == []
    (small_disk / "ballast").unlink()
    await telling.all_ended(60 - len(taken))
    assert sorted(each["id"] for each in lines(small_disk / "a.jsonl")) == sorted(answers)
    await sink.close()


async def test_a_folder_that_is_away_is_waited_for(tmp_path):
    sink = file_sink(tmp_path / "mount" / "a.jsonl")
    telling = Telling(sink)
    telling.offer(both())
    await telling.until(lambda so_far: bool(so_far.answers))
    assert telling.answers[0] == Answer("later", "not_found", "the folder is not there")
    (tmp_path / "mount").mkdir()
    assert await telling.all_ended(2) == ["delivered", "delivered"]
    assert [each["type"] for each in lines(tmp_path / "mount" / "a.jsonl")] == ["alert.opened", "alert.resolved"]
    await sink.close()


async def test_a_pipe_a_folder_and_a_device_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/full")):
        sink = file_sink(path)
        assert await attempt(sink, notice(fresh())) == Answer("later", "broken", "is no ordinary file")
        await sink.close()


async def test_a_file_that_somebody_holds_ends_in_time_and_is_waited_for(tmp_path):
    path = tmp_path / "a.jsonl"
    sink = file_sink(path, timeout_seconds=0.2)
    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        answer = await attempt(sink, notice(fresh()))
        assert (answer.verdict, answer.reason) == ("later", "timeout")
    telling = Telling(sink)
    telling.offer(both())
    assert await telling.all_ended(2) == ["delivered", "delivered"]
    await sink.close()


WRITER = """
import asyncio, sys
from router.sinks import open_sink
from tests.support.telling import attempt, fresh, notice
async def main(name, path):
    sink = open_sink({"name": name, "kind": "file", "path": path, "rotate_bytes": 4096, "keep": None}, "sinks[0]", {})
    for number in range(100):
        assert (await attempt(sink, notice(fresh(number, camera=name)))).verdict == "done"
asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_routers_may_write_to_one_file(tmp_path):
    command = [sys.executable, "-c", WRITER]
    writers = [
        await asyncio.create_subprocess_exec(*command, name, str(tmp_path / "a.jsonl")) for name in ("one", "two")
    ]
    assert [await writer.wait() for writer in writers] == [0, 0]
    found = lines(*tmp_path.iterdir())
    assert len({each["id"] for each in found}) == len(found) == 200


def test_two_sinks_of_one_configuration_may_not_share_a_file(tmp_path):
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    (tmp_path / "routes.yaml").write_text(
        f"""
sinks:
  - {{name: one, kind: file, path: {tmp_path}/a.jsonl}}
  - {{name: two, kind: file, path: {tmp_path}/link.jsonl}}
route: {{sinks: [one, two]}}
"""
    )
    with pytest.raises(BadDocument, match=r"sinks\[1\]: one has the file .*/a.jsonl already"):
        load_router(Settings(configs=tmp_path), {})

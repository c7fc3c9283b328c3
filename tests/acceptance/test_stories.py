"""What people are told, as stories on a time line: exactly this, within these windows, and nothing more."""

from __future__ import annotations

from pathlib import Path

from router.matchers import matcher
from router.retry import Answer
from router.silencing import Silenced
from schemas.messages import Silence
from tests.support.timeline import Plant, instant

DOWN = Answer("later", "unreachable", "no connection")
REFUSED = Answer("later", "unauthorized", "401")
WELL = Answer("done", "accepted")
NORTH = [f"north{number}" for number in range(1, 9)]
SITES = {"north": NORTH, "south": ["gate", "dock"]}

SINKS = """
sinks:
  - {name: guard, kind: webhook, url: "http://127.0.0.1:1/guard", allowed_targets: [127.0.0.1]}
  - {name: office, kind: webhook, url: "http://127.0.0.1:1/office", allowed_targets: [127.0.0.1]}
  - {name: siren, kind: hikvision, url: "http://127.0.0.1:1", username: u, password: p}
"""


def test_an_intruder_by_night_is_told_to_the_guard_only_and_one_by_day_to_the_office_only(tmp_path: Path) -> None:
    routes = (
        SINKS
        + """
time_intervals:
  - name: night
    ranges: [{days: [mon, tue, wed, thu, fri, sat, sun], from: "22:00", to: "06:00", timezone: Europe/Madrid}]
route:
  sinks: [office]
  routes:
    - {sinks: [guard], active: [night], continue: true}
    - {sinks: [office], mute: [night]}
"""
    )
    plant = Plant(tmp_path, routes, SITES)
    plant.intruder("15:00", "gate", leaves="15:04")
    plant.intruder("23:10", "gate", leaves="23:12")
    plant.intruder("+1 03:00", "dock", leaves="+1 03:01")
    plant.until("+1 07:00", step=4).exactly(
        ("15:00:00", "15:00:05", "office", "opened", "gate"),
        ("15:04:00", "15:04:05", "office", "resolved", "gate"),
        ("23:10:00", "23:10:05", "guard", "opened", "gate"),
        ("23:12:00", "23:12:05", "guard", "resolved", "gate"),
        ("+1 03:00:00", "+1 03:00:05", "guard", "opened", "dock"),
        ("+1 03:01:00", "+1 03:01:05", "guard", "resolved", "dock"),
    )


def test_a_site_goes_down_and_its_eight_cameras_do_not_shout(tmp_path: Path) -> None:
    routes = (
        SINKS
        + """
system: {}
route:
  sinks: [guard, siren]
  routes: [{match: [kind = system], sinks: [office, siren]}]
"""
    )
    plant = Plant(tmp_path, routes, SITES)
    plant.cameras_are("02:00", ["north3"], frozen=True)
    plant.cameras_are("03:00", NORTH, offline=True)
    plant.intruder("03:05", "gate", leaves="03:06")
    plant.cameras_are("03:20", NORTH)
    plant.cameras_are("04:00", ["north5"], offline=True)
    plant.cameras_are("04:05", ["north5"])
    plant.until("05:00").exactly(
        ("02:00:00", "02:00:05", "office", "camera_frozen opened", "north3"),
        ("03:00:08", "03:00:20", "office", "camera_frozen resolved", "north3"),
        ("03:00:30", "03:00:35", "office", "site_offline opened", "north"),
        ("03:05:00", "03:05:05", "guard", "opened", "gate"),
        ("03:05:00", "03:05:05", "siren", "opened", "gate"),
        ("03:06:00", "03:06:05", "guard", "resolved", "gate"),
        ("03:06:00", "03:06:05", "siren", "resolved", "gate"),
        ("03:20:08", "03:20:20", "office", "site_offline resolved", "north"),
        ("04:00:30", "04:00:35", "office", "camera_offline opened", "north5"),
        ("04:05:08", "04:05:20", "office", "camera_offline resolved", "north5"),
    )


def test_a_flood_is_folded_but_never_a_critical_alert(tmp_path: Path) -> None:
    routes = SINKS + "route: {sinks: [guard], send_resolved: false, flood: {}}\n"
    plant = Plant(tmp_path, routes, SITES)
    for number in range(14):
        plant.intruder(f"10:00:{number * 2:02}", NORTH[number % 8])
    plant.intruder("10:00:25", "gate", severity="critical")
    plant.intruder("10:30", "dock")
    plant.until("11:00").exactly(
        *(
            (f"10:00:{number * 2:02}", f"10:00:{number * 2 + 1:02}", "guard", "opened", NORTH[number % 8])
            for number in range(10)
        ),
        ("10:00:25", "10:00:27", "guard", "opened", "gate"),
        ("10:01:19", "10:01:24", "guard", "summary", "north3 north4 north5 north6"),
        ("10:30:00", "10:30:02", "guard", "opened", "dock"),
    )


def test_a_silence_ends_while_an_alert_is_open(tmp_path: Path) -> None:
    plant = Plant(tmp_path, SINKS + "route: {sinks: [guard]}\n", SITES)
    begin, end = instant("14:00"), instant("15:00")
    works = Silence("s1", ("camera = gate",), begin, end, "ana", "works at the gate", begin)
    plant.silence(Silenced(works, (matcher("camera = gate"),)))
    plant.intruder("14:10", "gate", leaves="14:20")
    plant.intruder("14:30", "gate", leaves="16:00")
    plant.intruder("14:40", "dock", leaves="14:41")
    plant.until("18:00").exactly(
        ("14:40:00", "14:40:02", "guard", "opened", "dock"),
        ("14:41:00", "14:41:02", "guard", "resolved", "dock"),
        ("15:00:00", "15:00:02", "guard", "opened", "gate"),
        ("16:00:00", "16:00:02", "guard", "resolved", "gate"),
    )


def test_after_three_hours_away_a_webhook_catches_up_and_a_siren_stays_still(tmp_path: Path) -> None:
    plant = Plant(tmp_path, SINKS + "route: {sinks: [guard, siren]}\n", SITES)
    for sink in ("guard", "siren"):
        plant.answers_with("09:00", sink, DOWN)
        plant.answers_with("12:00", sink, WELL)
    plant.intruder("09:30", "gate", leaves="09:40")
    plant.intruder("10:30", "dock", leaves="10:31")
    plant.intruder("13:00", "gate", leaves="13:01")
    plant.until("14:00").exactly(
        *(
            ("12:00:00", "12:01:30", "guard", phase, camera)
            for camera in ("gate", "dock")
            for phase in ("opened", "resolved")
        ),
        ("13:00:00", "13:00:02", "guard", "opened", "gate"),
        ("13:00:00", "13:00:02", "siren", "opened", "gate"),
        ("13:01:00", "13:01:02", "guard", "resolved", "gate"),
        ("13:01:00", "13:01:02", "siren", "resolved", "gate"),
    )
    assert sorted(plant.lost) == [("siren", camera, "expired") for camera in ("dock", "dock", "gate", "gate")]


def test_a_password_is_mended_and_nothing_was_lost_nor_asked_for_on_and_on(tmp_path: Path) -> None:
    plant = Plant(tmp_path, SINKS + "route: {sinks: [guard]}\n", SITES)
    plant.answers_with("08:00", "guard", REFUSED)
    for number in range(30):
        plant.intruder(f"08:{number:02}:30", NORTH[number % 8])
    attempts: list[int] = []
    plant.at("10:59:59", lambda: attempts.append(plant.attempts["guard"]))
    plant.answers_with("11:00", "guard", WELL)
    plant.until("12:00").exactly(
        *(("11:00:00", "11:12:00", "guard", "opened", NORTH[number % 8]) for number in range(30))
    )
    assert attempts[0] <= 5 + 18, "after 30 s, 1, 2, 4, 8 and then every 10 minutes"
    assert plant.lost == []


def test_an_alert_that_stays_open_is_repeated_until_it_resolves(tmp_path: Path) -> None:
    plant = Plant(tmp_path, SINKS + "route: {sinks: [guard], repeat_every_seconds: 600}\n", SITES)
    plant.intruder("20:00", "gate", leaves="20:35")
    plant.intruder("20:02", "dock", leaves="20:03")
    plant.until("23:00").exactly(
        ("20:00:00", "20:00:02", "guard", "opened", "gate"),
        ("20:02:00", "20:02:02", "guard", "opened", "dock"),
        ("20:03:00", "20:03:02", "guard", "resolved", "dock"),
        *((f"20:{minute}:00", f"20:{minute}:02", "guard", "repeated", "gate") for minute in (10, 20, 30)),
        ("20:35:00", "20:35:02", "guard", "resolved", "gate"),
    )


def test_the_watchdog_that_does_not_come_says_that_the_router_was_away(tmp_path: Path) -> None:
    routes = (
        SINKS
        + """
system: {watchdog: {at: "08:00", timezone: Europe/Madrid}}
route: {sinks: [guard], routes: [{match: [severity = critical], sinks: [office, siren]}]}
"""
    )
    plant = Plant(tmp_path, routes, SITES)
    plant.at("07:58", lambda: None)
    plant.nobody_observes("+1 07:30", "+1 08:30")
    plant.answers_with("+2 07:00", "guard", DOWN)
    plant.answers_with("+2 08:20", "guard", WELL)
    plant.until("+2 08:30", step=10).exactly(
        ("08:00:00", "08:00:12", "guard", "watchdog opened", "backsight"),
        ("08:00:00", "08:00:12", "office", "watchdog opened", "backsight"),
        ("+2 08:00:00", "+2 08:00:12", "office", "watchdog opened", "backsight"),
        ("+2 08:20:00", "+2 08:21:00", "guard", "watchdog opened", "backsight"),
    )


def test_routes_change_in_the_middle_and_only_who_was_told_of_an_opening_is_told_of_its_end(tmp_path: Path) -> None:
    before = SINKS + "route: {sinks: [office], routes: [{match: [camera = gate], sinks: [guard]}]}\n"
    after = SINKS + "route: {sinks: [office], routes: [{match: [camera = dock], sinks: [guard]}]}\n"
    plant = Plant(tmp_path, before, SITES)
    plant.intruder("11:50", "gate", leaves="12:10")
    plant.reload("12:00", after)
    plant.intruder("12:05", "gate", leaves="12:06")
    plant.intruder("12:20", "dock", leaves="12:21")
    plant.until("13:00").exactly(
        ("11:50:00", "11:50:02", "guard", "opened", "gate"),
        ("12:05:00", "12:05:02", "office", "opened", "gate"),
        ("12:06:00", "12:06:02", "office", "resolved", "gate"),
        ("12:10:00", "12:10:02", "guard", "resolved", "gate"),
        ("12:20:00", "12:20:02", "guard", "opened", "dock"),
        ("12:21:00", "12:21:02", "guard", "resolved", "dock"),
    )

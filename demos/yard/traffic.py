"""What may pass: workers on foot, logs on the conveyor, logs that roll over the ground, birds and leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from demos.yard.dice import dice
from demos.yard.layout import CONVEYOR_TOP, CONVEYOR_Z, FRONT_Z, REACH, Layout, Thing

LAP_S = 19.0  # a worker sets out about this often


@lru_cache(maxsize=4096)
def _lap(seed: int, camera: str, worker: int, lap: int) -> tuple[float, float, float, float, float, int, float, float]:
    draw = dice(seed, camera, "lap", worker, lap)
    start = lap * LAP_S + draw.uniform(0.0, 5.0) + worker * 6.1
    speed = draw.uniform(1.25, 1.8)
    lane = draw.random()
    if lane < 0.62:  # through the forbidden ground
        first, last = draw.uniform(-1.9, FRONT_Z - 0.35, size=2)
    elif lane < 0.8:  # behind the conveyor
        first, last = draw.uniform(2.4, 4.0, size=2)
    else:  # between the camera and the forbidden ground
        first, last = draw.uniform(-3.6, -2.6, size=2)
    heading = 1 if draw.random() < 0.5 else -1
    # One lap in three stops for a while on the way.
    pause_at, pause_s = draw.uniform(0.3, 0.7), (draw.uniform(1.0, 3.5) if draw.random() < 0.33 else 0.0)
    return start, speed, float(first), float(last), draw.uniform(1.6, 1.9), heading, pause_at, pause_s


def workers(seed: int, camera: str, seconds: float) -> Iterator[Thing]:
    """The workers in the yard at `seconds`: two or three, each with a look of their own."""
    for worker in range(int(dice(seed, camera, "workers").integers(2, 4))):
        newest = math.floor(seconds / LAP_S)
        for lap in (newest - 1, newest):
            start, speed, first, last, tall, heading, pause_at, pause_s = _lap(seed, camera, worker, lap)
            walked = (seconds - start) * speed
            halt = pause_at * 2 * REACH
            if walked > halt:
                walked = max(halt, walked - pause_s * speed)
            share = walked / (2 * REACH)
            if not 0.0 <= share <= 1.0:
                continue
            x = heading * (2 * share - 1) * REACH
            standing = walked == halt
            yield Thing(
                "worker",
                "worker",
                (x, 0.0, first + (last - first) * share),
                tall,
                f"{seed}/{camera}/worker{worker}/{lap // 3}",
                turn=float(heading) if not standing else 0.0,
                phase=0.0 if standing else walked * 2 * math.pi / 1.5,
            )


@lru_cache(maxsize=4096)
def _log(seed: int, camera: str, number: int) -> tuple[float, float, float, float]:
    draw = dice(seed, camera, "belt", number)
    return draw.uniform(-0.7, 0.7), draw.uniform(1.5, 2.7), draw.uniform(0.13, 0.23), draw.uniform(-0.06, 0.06)


def belt_logs(seed: int, camera: str, layout: Layout, seconds: float) -> Iterator[Thing]:
    """The logs that ride on the conveyor at `seconds`."""
    spacing = 4.4
    travelled = layout.belt_speed * seconds
    first = math.floor((travelled - REACH) / spacing)
    for number in range(first, first + int(2 * REACH / spacing) + 2):
        shift, length, radius, turn = _log(seed, camera, number)
        x = layout.belt_heading * (travelled - number * spacing + shift)
        if abs(x) <= REACH:
            look = f"{seed}/{camera}/belt{number}"
            yield Thing("log", "pine", (x, CONVEYOR_TOP, CONVEYOR_Z), radius, look, turn=turn, length=length)


@lru_cache(maxsize=1024)
def _fallen(seed: int, camera: str, number: int) -> tuple[float, float, float, float, float, float, float, float]:
    draw = dice(seed, camera, "fallen", number)
    start = number * 23.0 + draw.uniform(0.0, 6.0)
    stay = draw.uniform(2.5, 7.0)
    x, stop = draw.uniform(-4.0, 4.0), draw.uniform(-1.6, FRONT_Z - 0.7)
    return start, stay, x, stop, draw.uniform(-0.25, 0.25), draw.uniform(0.13, 0.22), draw.uniform(1.3, 2.3), 1.3


def ground_logs(seed: int, camera: str, seconds: float) -> Iterator[Thing]:
    """A log that fell off the conveyor: it rolls towards the camera, lies for a while and rolls on."""
    number = math.floor(seconds / 23.0)
    for which in (number - 1, number):
        start, stay, x, stop, turn, radius, length, pace = _fallen(seed, camera, which)
        since = seconds - start
        from_z = FRONT_Z - 0.15
        rolled_in = (from_z - stop) / pace
        if since < 0.0:
            continue
        if since < rolled_in:
            z = from_z - pace * since
        elif since < rolled_in + stay:
            z = stop
        else:
            z = stop - pace * 1.6 * (since - rolled_in - stay)
        if z < -5.5:
            continue
        look = f"{seed}/{camera}/fallen{which}"
        yield Thing("log", "pine", (x, 0.0, z), radius, look, turn=turn, phase=(from_z - z) / radius, length=length)


def drifting(seed: int, camera: str, seconds: float) -> Iterator[Thing]:
    """Leaves that blow over the ground, birds that peck on it or fly past: none of them worth an alert."""
    slot = math.floor(seconds / 8.0)
    for number in range(5):
        draw = dice(seed, camera, "leaf", number, slot)
        x, z, pace = draw.uniform(-6, 6), draw.uniform(-3.5, 4.0), draw.uniform(0.3, 1.5)
        moved = x + pace * (seconds - slot * 8.0)
        hop = 0.12 * abs(math.sin(3.0 * seconds + number))
        look = f"{seed}/{camera}/leaf{number}/{slot}"
        yield Thing("leaf", None, (moved, hop, z), 0.09, look, turn=2.0 * seconds + number)
    draw = dice(seed, camera, "bird", slot)
    kind, x, z = draw.random(), draw.uniform(-4, 4), draw.uniform(-1.8, 1.0)
    since = seconds - slot * 8.0
    look = f"{seed}/{camera}/bird{slot}"
    if kind < 0.4:
        yield Thing("bird", None, (x + 0.15 * math.floor(since), 0.0, z), 0.2, look, phase=since)
    elif kind < 0.7:
        flown = -8.0 + 5.0 * since
        if flown < 9.0:
            yield Thing("flyer", None, (flown, 1.6 + 0.3 * math.sin(2 * since), z), 0.3, look, phase=9.0 * since)

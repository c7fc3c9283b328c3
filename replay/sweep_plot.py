"""The plot of a sweep: alerts per day over the first varied setting, a line for each combination of the others."""

from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Final

from replay.sweep import Swept

WIDTH: Final = 800
HEIGHT: Final = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 220, 30, 50
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette: told apart by colour-blind readers too."""
_DASHES: Final = ("", "6 3", "2 3", "10 3 2 3")


def plot(results: Sequence[Swept]) -> str:
    """An SVG picture that stands alone. Values of the first key stand at equal distances, in the order given."""
    key = results[0].combination[0][0]
    values = list(dict.fromkeys(each.combination[0][1] for each in results))
    lines: defaultdict[str, list[Swept]] = defaultdict(list)
    for each in results:
        lines[", ".join(f"{name}={value}" for name, value in each.combination[1:])].append(each)
    most = max((each.per_day for each in results), default=0.0) or 1.0
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(value: object) -> float:
        return _LEFT + (wide * values.index(value) / (len(values) - 1) if len(values) > 1 else wide / 2)

    def y(per_day: float) -> float:
        return _TOP + high * (1 - per_day / most)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        f'aria-label="alerts per day over {escape(key)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="18" font-weight="bold">alerts per day</text>',
        f'<text x="{_LEFT + wide / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(key)}</text>',
    ]
    for quarter in range(5):
        level = most * quarter / 4
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + wide}" y1="{y(level):.1f}" y2="{y(level):.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 8}" y="{y(level) + 4:.1f}" text-anchor="end">{level:.3g}</text>'
        )
    for value in values:
        parts.append(
            f'<text x="{x(value):.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{escape(str(value))}</text>'
        )
    for number, (name, some) in enumerate(lines.items()):
        colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
        points = [(x(each.combination[0][1]), y(each.per_day)) for each in some]
        path = " ".join(f"{right:.1f},{down:.1f}" for right, down in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
        )
        parts += [f'<circle cx="{right:.1f}" cy="{down:.1f}" r="3" fill="{colour}"/>' for right, down in points]
        row = _TOP + 16 * number
        if row < HEIGHT - _BOTTOM and name:
            parts.append(
                f'<line x1="{WIDTH - _RIGHT + 15}" x2="{WIDTH - _RIGHT + 40}" y1="{row}" y2="{row}" stroke="{colour}" '
                f'stroke-width="2" stroke-dasharray="{dash}"/>'
                f'<text x="{WIDTH - _RIGHT + 46}" y="{row + 4}" font-size="10">{escape(name)}</text>'
            )
    return "\n".join((*parts, "</svg>", ""))

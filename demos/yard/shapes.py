"""How each thing looks: polygons in pixels, back to front, in the colours of daylight."""

from __future__ import annotations

from collections.abc import Callable

from demos.yard import foreign, passing, trimmings
from demos.yard.layout import Thing
from demos.yard.lens import Lens
from demos.yard.strokes import Palette, Stroke, palette

_SKETCHES: dict[str, Callable[[Thing, Lens, Palette], list[Stroke]]] = {
    "worker": passing.worker,
    "log": passing.log,
    "crate": foreign.crate,
    "toolbox": foreign.toolbox,
    "barrel": foreign.barrel,
    "tyre": foreign.tyre,
    "bucket": foreign.bucket,
    "jerrycan": foreign.jerrycan,
    "bottle": foreign.bottle,
    "sack": foreign.sack,
    "cone": trimmings.cone,
    "sign": trimmings.sign,
    "leaf": trimmings.leaf,
    "bird": trimmings.bird,
    "flyer": trimmings.flyer,
}


def sketch(thing: Thing, lens: Lens) -> list[Stroke]:
    """The thing as polygons, back to front."""
    return _SKETCHES[thing.kind](thing, lens, palette(thing.look, thing.kind))


def footprint(thing: Thing) -> float:
    """Half the width in metres of the shadow that the thing throws on the ground; 0 for what throws none."""
    if thing.kind == "log":
        return thing.length / 2
    return {"worker": 0.34, "leaf": 0.0, "flyer": 0.0, "sign": 0.2}.get(thing.kind, thing.size * 0.55)

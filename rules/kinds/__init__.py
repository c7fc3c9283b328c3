"""The kinds of rule. A new kind is one new module in this package: it is found by being here.

A kind says which of a camera's ROIs are its own, and makes for one label and one picture size a `Locate`: which of
those ROIs hold a box. When a hit is a hit (confidence, active times) and what follows from hits (confirming, episodes,
the debounce window) is the same for every kind and lives in `rules.engine` and `rules.debounce`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple, Protocol, cast

from schemas.effective import CameraRules, RoiRules
from schemas.messages import Box

Locate = Callable[[Box], Sequence[int]]
"""The places (in the kind's list of ROIs, ascending) of those that hold the box."""


class PictureSize(NamedTuple):
    """Pixels of the source picture."""

    width: int
    height: int


class RuleKind(Protocol):
    """What a module of this package offers."""

    def rois_of(self, rules: CameraRules) -> tuple[RoiRules, ...]:
        """The camera's ROIs of this kind, in the document's order."""

    def needs_size(self, roi: RoiRules) -> bool:
        """Whether the ROI's place in the picture depends on the size of the picture."""

    def out_of_bounds(self, roi: RoiRules, size: PictureSize) -> bool:
        """Whether the ROI reaches beyond a picture of this size."""

    def locator(self, rois: Sequence[RoiRules], label: str, size: PictureSize) -> Locate:
        """How to find the ROIs that hold a box of this label in a picture of this size."""


@cache
def rule_kinds() -> Mapping[str, RuleKind]:
    """Every kind by its module's name, in the order of the names."""
    names = sorted(module.name for module in iter_modules(__path__))
    return {name: cast(RuleKind, import_module(f"{__name__}.{name}")) for name in names}

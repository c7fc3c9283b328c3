"""A synthetic sawmill yard: pictures with their truth, as a pure function of seed, camera and time."""

from demos.yard.paint import Truth, Yard, anchor_distance

__all__ = ["Truth", "Yard", "anchor_distance"]

"""Colours of every picture: Okabe and Ito's, told apart by colour-blind readers.

https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"


def scale_shares(axes: Axes, values: Iterable[float | None], top: float = 1.03) -> bool:
    """Draw shares on the scale 0 to 1; False, and nothing done, where a value would be cut off."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    fits = all(0 <= value <= 1 for value in known)
    if fits:
        axes.set_ylim(-0.03, top)
    return fits

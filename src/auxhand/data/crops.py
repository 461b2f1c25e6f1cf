"""How hands are cropped: the one rule that training, protocols, readers and bundles share."""

from __future__ import annotations

from dataclasses import dataclass

from auxhand.data.geometric import FRACTION, MASK_FRACTION, CropBy, View


@dataclass(frozen=True)
class CropRule:
    """A square about a hand.

    Attributes:
        by: what it is about: the box of the hand's true mask or of its true joints.
        fraction: share of the square's side that the longer side of that box takes.
        view: what the crop does to the viewpoint, see `geometric.View`.
    """

    by: CropBy = "joints"
    fraction: float = FRACTION
    view: View = "corrected"

    @property
    def joints_fraction(self) -> float:
        """Share of the square's side that the joints' box takes; by the mask, on average."""
        return self.fraction * (1.0 if self.by == "joints" else FRACTION / MASK_FRACTION)

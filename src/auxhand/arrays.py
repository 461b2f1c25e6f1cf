"""Types of numpy arrays: one name each, for all floors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""Of any numbers; the docstring beside it says which."""
Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

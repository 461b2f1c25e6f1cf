"""The check at the door: is this tensor of the shape that the function says."""

from __future__ import annotations

from torch import Tensor


def expect(name: str, tensor: Tensor, *tail: int | None) -> None:
    """Make sure that the last dimensions of `tensor` are `tail`; None stands for any size.

    Raises:
        ValueError: they are not.
    """
    shape = tuple(tensor.shape)
    end = shape[len(shape) - len(tail) :]
    if len(shape) < len(tail) or any(t not in (None, n) for t, n in zip(tail, end, strict=True)):
        wanted = ", ".join("n" if t is None else str(t) for t in tail)
        raise ValueError(f"{name} must have shape (..., {wanted}), got {shape}")

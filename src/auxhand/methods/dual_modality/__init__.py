"""Dual-modality network: RGB and depth maps in pre-training, RGB alone afterwards (chapter 7)."""

from auxhand.methods.dual_modality.module import DualModality

__all__ = ["DualModality"]

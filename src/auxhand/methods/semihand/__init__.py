"""SemiHand: semi-supervised 3D hand pose estimation (chapter 6)."""

from auxhand.methods.semihand.module import SemiHand

__all__ = ["SemiHand"]

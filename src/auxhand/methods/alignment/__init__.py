"""Latent alignment (Ch. 5): any set of modalities in one latent space, by KL or by product."""

from auxhand.methods.alignment.modalities import Networks, Weights
from auxhand.methods.alignment.module import Alignment

__all__ = ["Alignment", "Networks", "Weights"]

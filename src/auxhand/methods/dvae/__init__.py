"""Disentangled VAE (Ch. 4): hands by factors, of images (synthesis) or of poses (estimation)."""

from auxhand.methods.dvae.module import DisentangledVAE
from auxhand.methods.dvae.variables import Networks
from auxhand.methods.dvae.variant import Weights

__all__ = ["DisentangledVAE", "Networks", "Weights"]

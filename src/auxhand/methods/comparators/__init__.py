"""What Table 7.1 compares with, as plain losses on the same streams and backbone."""

from auxhand.methods.comparators.animal_da import AnimalDA
from auxhand.methods.comparators.cc_ssl import CCSSL
from auxhand.methods.comparators.regda import RegDA

__all__ = ["CCSSL", "AnimalDA", "RegDA"]

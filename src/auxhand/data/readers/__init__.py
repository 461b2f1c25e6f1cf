"""Public datasets, and one's own, in their own layouts: one file each (see `reader.py`)."""

from auxhand.data.readers.coco import Coco
from auxhand.data.readers.dexter_object import DexterObject
from auxhand.data.readers.folder import Folder
from auxhand.data.readers.freihand import FreiHAND
from auxhand.data.readers.hand3d_studio import Hand3DStudio
from auxhand.data.readers.hsd import Hsd
from auxhand.data.readers.interhand import InterHand
from auxhand.data.readers.obman import ObMan
from auxhand.data.readers.reader import Reader
from auxhand.data.readers.rhd import RHD
from auxhand.data.readers.stb import STB
from auxhand.data.readers.youtube_hands import YouTubeHands

READERS: dict[str, type[Reader]] = {
    reader.NAME: reader
    for reader in (
        *(RHD, STB, DexterObject, FreiHAND, ObMan, Hand3DStudio, YouTubeHands, Hsd, InterHand),
        *(Coco, Folder),
    )
}
"""Name -> class, as the commands know them."""

"""What `auxhand predict` and `auxhand webcam` write of a picture or film: by its names, what they
have drawn is told from pictures of hands. It imports nothing slow."""

from __future__ import annotations

from pathlib import Path

OVERLAY, VIEW, FILM = "_overlay.png", "_3d.png", "_overlay.mp4"
"""How the names of drawings end, after that of the result."""

NUMBERS = ".json"
"""How the name of the result itself ends."""

BEGINS = b'{\n  "photo":', b'{\n  "video":'
"""How each JSON of results begins."""


def is_result(file: Path) -> bool:
    """Whether a JSON file is a result."""
    try:
        with file.open("rb") as opened:
            return opened.read(max(map(len, BEGINS))).startswith(BEGINS)
    except OSError:
        return False


def is_drawn(path: Path) -> bool:
    """Whether a picture or film is the drawing of a result that lies beside it."""
    return any(
        path.name.endswith(suffix)
        and is_result(path.with_name(path.name.removesuffix(suffix) + NUMBERS))
        for suffix in (OVERLAY, VIEW, FILM)
    )

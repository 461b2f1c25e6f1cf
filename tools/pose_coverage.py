"""Which hands a set covers: states of the fingers against the octants that they are seen from.

    .venv/bin/python tools/pose_coverage.py data/default data/contacts
    .venv/bin/python tools/pose_coverage.py ../shared/realdata/joints3d/joints/stb_train.npy

Takes prepared datasets, or arrays (N, 21, 3) of right hands in metres and the camera's frame, and
prints a Markdown table: shares in thousandths of the hands. A finger is folded (f) where its MCP
and PIP bend by more than 90 degrees together, else straight (s); index to pinky. An octant says
from where the camera looks at the hand: at its palm or back, from the thumb's side or the
pinky's, and from the fingertips' or the wrist's end.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auxhand.data.columns import decode_labels
from auxhand.data.store import PreparedDataset
from auxhand.geometry.canonical import canonical_pose
from auxhand.geometry.crop import mirror_xyz
from auxhand.hand.anatomy import joint_angles
from auxhand.hand.skeleton import ROOT
from auxhand.sample import LEFT

FOLDED = np.deg2rad(90)
PATTERNS = ["".join(p) for p in product("sf", repeat=4)]
OCTANTS = [" ".join(p) for p in product(("palm", "back"), ("thumb", "pinky"), ("tips", "wrist"))]


def joints(path: Path) -> Tensor:
    """(N, 21, 3) joints of right hands; left ones are mirrored.

    Raises:
        FileNotFoundError, ValueError: nothing there, or something else.
    """
    if path.suffix == ".npy":
        xyz = torch.from_numpy(np.load(path, allow_pickle=False)).double()
        if xyz.ndim != 3 or xyz.shape[1:] != (21, 3):
            raise ValueError(f"{path} must be (N, 21, 3), got {tuple(xyz.shape)}")
        return xyz
    dataset = PreparedDataset(path)
    labels = (decode_labels(dataset.row(i)) for i in range(len(dataset)))
    return torch.stack(
        [mirror_xyz(s.joints_xyz) if s.side == LEFT else s.joints_xyz for s in labels]
    )


def patterns(xyz: Tensor) -> np.ndarray:
    """(N,) number of each hand's pattern of folded fingers in `PATTERNS`."""
    flexion = joint_angles(xyz)[:, 3:, 0].reshape(-1, 4, 3)
    folded = (flexion[..., :2].sum(-1) > FOLDED).numpy()
    return folded @ np.array([8, 4, 2, 1])


def octants(xyz: Tensor) -> np.ndarray:
    """(N,) number of the octant in `OCTANTS` that each hand is seen from.

    In the canonical frame the fingers point to -y, the pinky's side is +x, and the palm looks to
    +z (`geometry.canonical`).
    """
    _, R = canonical_pose(xyz)
    camera = (-xyz[:, ROOT, None] @ R)[:, 0].numpy()
    return (camera * [1, 1, -1] > 0) @ np.array([2, 1, 4])


def table(xyz: Tensor) -> str:
    """Thousandths of the hands by pattern and octant, with the sums."""
    counts = np.zeros((len(PATTERNS), len(OCTANTS)))
    np.add.at(counts, (patterns(xyz), octants(xyz)), 1)
    shares = 1000 * counts / len(xyz)
    lines = ["| " + " | ".join(["fingers", *OCTANTS, "all"]) + " |", "|---" * 10 + "|"]
    rows = [*zip(PATTERNS, shares, strict=True), ("all", shares.sum(0))]
    for name, row in rows:
        cells = [f"{value:.0f}" for value in (*row, row.sum())]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    empty = int((counts == 0).sum())
    return "\n".join([*lines, f"\n{empty} of {counts.size} cells are empty."])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", type=Path, nargs="+", help="prepared datasets or .npy files")
    for path in parser.parse_args().sets:
        xyz = joints(path)
        print(f"{path}, {len(xyz)} hands\n\n{table(xyz)}\n")


if __name__ == "__main__":
    main()

"""Bone lengths of our hand beside those of datasets and of anatomy, as ratios.

    .venv/bin/python tools/bone_ratios.py ../shared/realdata

Prints the Markdown table of docs/hand.md: each bone over the middle proximal phalanx (9-10), and
that bone in mm. Exit code 1 if a ratio of ours lies outside the range of the sources.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from auxhand.hand.anatomy import bone_lengths
from auxhand.hand.skeleton import BONES, JOINT_NAMES, reorder
from auxhand.hand.surface import HandSurface

NOT_MEASURED = np.nan

BURYANOV = np.array(
    [
        *(NOT_MEASURED, 46.22, 31.57, 21.67 + 5.67),
        *(NOT_MEASURED, 39.78, 22.38, 15.82 + 3.84),
        *(NOT_MEASURED, 44.63, 26.33, 17.40 + 3.95),
        *(NOT_MEASURED, 41.37, 25.65, 17.30 + 3.95),
        *(NOT_MEASURED, 32.74, 18.11, 15.96 + 3.73),
    ]
)
"""Bones and soft tissue of the tip in mm on radiographs of 66 adults: Buryanov & Kotiuk,
"Proportions of hand segments", Int. J. Morphol. 28(3), 2010. Metacarpals do not reach the wrist."""

BUCHHOLZ = np.array(
    [
        *(NOT_MEASURED, 0.251, 0.196, 0.158),
        *(0.463, 0.245, 0.143, 0.097),
        *(0.446, 0.266, 0.170, 0.108),
        *(0.421, 0.244, 0.165, 0.107),
        *(0.414, 0.204, 0.117, 0.093),
    ]
)
"""Joint centre to joint centre over hand length: Buchholz, Armstrong & Goldstein, "Anthropometric
data for describing the kinematics of the human hand", Ergonomics 35(3), 1992."""


def lengths(xyz: np.ndarray) -> np.ndarray:
    return bone_lengths(torch.from_numpy(np.asarray(xyz, np.float64))).numpy()


def interhand(root: Path) -> dict[str, list[np.ndarray]]:
    """Wholly labelled InterHand2.6M samples (21,3) by capture, as right hands, in metres."""
    file = root / "dataset-samples/interhand2.6m/test_interhand2.6m_joint_3d.json"
    hands: dict[str, list[np.ndarray]] = {}
    for capture, rows in json.loads(file.read_text()).items():
        for row in rows.values():
            world, valid = np.array(row["world_coord"]), np.array(row["joint_valid"]).ravel()
            for start, mirror in ((0, 1), (21, -1)):
                if valid[start : start + 21].all():
                    hand = reorder(world[start : start + 21], "interhand") / 1000
                    hands.setdefault(capture, []).append(hand * [mirror, 1, 1])
    return hands


def sources(root: Path) -> dict[str, tuple[np.ndarray, float]]:
    """Name -> ratios (20,) to bone 9-10 and the median of that bone in mm (nan: unknown)."""
    table: dict[str, np.ndarray] = {}
    for name, file in (("STB", "stb_train"), ("RHD test", "rhd_test")):
        table[name] = lengths(np.load(root / f"joints3d/joints/{file}.npy"))
    for capture, hands in interhand(root).items():
        table[f"InterHand capture {capture}"] = lengths(np.array(hands))
    images = json.loads((root / "sign-digits/mediapipe_reference.json").read_text())["images"]
    open_hands = [
        np.array(row["landmarks_px"])[:, :2]
        for name, row in images.items()
        if name.startswith("5/") and row
    ]
    table["MediaPipe, 2D, open hands"] = lengths(np.pad(open_hands, ((0, 0), (0, 0), (0, 1))))
    out = {
        name: (
            np.median(rows / rows[:, 9:10], 0),
            NOT_MEASURED if "2D" in name else 1000 * float(np.median(rows[:, 9])),
        )
        for name, rows in table.items()
    }
    out["Buryanov & Kotiuk 2010"] = (BURYANOV / BURYANOV[9], float(BURYANOV[9]))
    out["Buchholz et al. 1992"] = (BUCHHOLZ / BUCHHOLZ[9], NOT_MEASURED)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("realdata", type=Path)
    table = sources(parser.parse_args().realdata)
    ours = bone_lengths(HandSurface().rest_joints).double().numpy()
    low = np.nanmin([ratios for ratios, _ in table.values()], axis=0)
    high = np.nanmax([ratios for ratios, _ in table.values()], axis=0)
    table = {"**ours**": (ours / ours[9], 1000 * ours[9]), **table}
    print("| bone | " + " | ".join(table) + " |")
    print("|---" * (len(table) + 1) + "|")
    print(
        "| 9-10, mm | "
        + " | ".join(f"{mm:.1f}" for _, mm in table.values()).replace("nan", "-")
        + " |"
    )
    for bone, (parent, child) in enumerate(BONES):
        cells = " | ".join(f"{ratios[bone]:.2f}" for ratios, _ in table.values())
        print(f"| {parent}-{child} {JOINT_NAMES[child]} | {cells} |".replace("nan", "-"))
    outside = (ours / ours[9] < low - 1e-6) | (ours / ours[9] > high + 1e-6)
    for bone in outside.nonzero()[0]:
        print(f"outside the sources: {BONES[bone]} {low[bone]:.3f}..{high[bone]:.3f}")
    sys.exit(int(outside.any()))


if __name__ == "__main__":
    main()

"""Joint angles of real hands against our limits, and the fit of the thumb's frame.

    .venv/bin/python tools/angle_statistics.py ../shared/realdata

Prints, per joint, our limits beside the range of 99% of the poses of STB (real), RHD (synthetic)
and of all of the InterHand2.6M samples; which share of each is feasible, and of random angles; how
our mean hand stands to the limits of a public implementation of biomechanical constraints; and the
thumb frame in which the thumb's MCP and IP bend sideways least in STB (`anatomy.THUMB_BASE`, there
with its zero of flexion moved so that the thumb points 45 degrees to the side).
"""

import argparse
from pathlib import Path

import numpy as np
import roma
import scipy.optimize
import torch
from bone_ratios import interhand
from torch import Tensor

from auxhand.hand import anatomy
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.hand.surface import HandSurface


def fit_thumb_base(poses: Tensor) -> np.ndarray:
    """Rotation (3,3) least in the squared abductions of MCP and IP, weakly in the CMC's angles."""
    ours = anatomy.THUMB_BASE

    def cost(turn: np.ndarray) -> float:
        anatomy.THUMB_BASE = roma.rotvec_to_rotmat(torch.from_numpy(turn))  # type: ignore[misc]
        angles = anatomy.joint_angles(poses)[:, :3]
        return float((angles[:, 1:, 1] ** 2).mean() + 0.02 * (angles[:, 0, :2] ** 2).mean())

    try:
        start = roma.rotmat_to_rotvec(ours).numpy()
        found = scipy.optimize.minimize(cost, start, method="Nelder-Mead").x
    finally:
        anatomy.THUMB_BASE = ours  # type: ignore[misc]
    return roma.rotvec_to_rotmat(torch.from_numpy(found)).numpy()


def compare_with_bmc(folder: Path) -> None:
    limits = {file.stem: np.load(file) for file in folder.glob("*.npy")}
    rest = HandSurface().rest_joints.double()
    lengths = anatomy.bone_lengths(rest)
    ratios = (lengths / lengths[8]).numpy()  # theirs are over wrist to middle MCP
    inside = (ratios > limits["bone_len_min"] - 1e-6) & (ratios < limits["bone_len_max"] + 1e-6)
    print(f"BMC: {inside.sum()} of 20 bone lengths of our mean hand inside, outside:")
    for bone in (~inside).nonzero()[0]:
        low, high = limits["bone_len_min"][bone], limits["bone_len_max"][bone]
        print(f"    {JOINT_NAMES[bone + 1]} {ratios[bone]:.3f} not in {low:.3f}..{high:.3f}")
    roots = torch.nn.functional.normalize(rest[[1, 5, 9, 13, 17]], dim=-1)
    between = (roots[1:] * roots[:-1]).sum(-1).acos().numpy()
    print(
        "BMC: angles between the palm's bones",
        between.round(2),
        "limits",
        limits["PHI_min"].round(2),
        limits["PHI_max"].round(2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("realdata", type=Path)
    root = parser.parse_args().realdata
    folder = root / "joints3d/joints"
    stb = np.concatenate([np.load(folder / f"stb_{split}.npy") for split in ("train", "test")])
    hands = [hand for rows in interhand(root).values() for hand in rows]
    sources = {
        "STB": torch.from_numpy(stb).double(),
        "RHD": torch.from_numpy(np.load(folder / "rhd_test.npy")).double(),
        "InterHand": torch.from_numpy(np.array(hands)).double(),
    }
    print("| joint, degrees | limits | " + " | ".join(sources) + " |")
    print("|---" * (len(sources) + 2) + "|")
    angles = {name: torch.rad2deg(anatomy.joint_angles(xyz)) for name, xyz in sources.items()}
    limits = torch.rad2deg(anatomy.ANGLE_LIMITS)
    for index, joint in enumerate(anatomy.ARTICULATED):
        for axis, name in enumerate(("flexion", "abduction")):
            cells = [
                np.quantile(a[:, index, axis], [0.005, 0.995] if len(a) > 100 else [0, 1])
                for a in angles.values()
            ]
            ranges = [limits[index, axis].numpy(), *cells]
            row = " | ".join(f"{low:.0f}..{high:.0f}" for low, high in ranges)
            print(f"| {JOINT_NAMES[joint]} {name} | {row} |")
    for name, xyz in sources.items():
        print(f"feasible: {name} {100 * anatomy.feasible(xyz).double().mean():.2f}% of {len(xyz)}")
    generator = torch.Generator().manual_seed(0)
    random = (torch.rand(1_000_000, 15, 3, generator=generator) * 2 - 1) * torch.pi / 2
    print(f"feasible: random angles {100 * anatomy.is_feasible(random).double().mean():.4f}%")
    random[..., 1:] = 0
    print(f"feasible: random flexions {100 * anatomy.is_feasible(random).double().mean():.2f}%")
    compare_with_bmc(root / "joints3d/BMC")
    print("thumb frame fitted (columns x, y, z)\n", fit_thumb_base(sources["STB"][::12]).round(2))
    print("thumb frame in use\n", anatomy.THUMB_BASE.numpy().round(2))


if __name__ == "__main__":
    main()

"""Fit the hand model to 2D joint labels: do its joints lie where annotators put them?

    .venv/bin/python tools/fit_labels.py ../shared/realdata [--overlays FOLDER] [--asset FILE]

For every labelled hand (both sides are tried), pose, size and camera are fitted to the labels; bone
proportions stay those of the mean hand. Printed per source: the mean distance of label and joint
and, per joint, how far the label lies beyond the joint along the bone that ends there, both in % of
the labels' box. A model whose MCPs are too far out shows negative numbers there. `--asset` takes
another bake (for instance one with the rig's own joints); `--overlays` draws labels and fits.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import roma
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from auxhand.hand.anatomy import ANGLE_LIMITS, joint_angles, rotations_from_angles
from auxhand.hand.skeleton import JOINT_NAMES, PARENTS, reorder
from auxhand.hand.surface import HandSurface

Labels = list[tuple[str, np.ndarray, np.ndarray]]  # image file, (21,2) pixels, (21,) labelled


def read_coco(file: Path, convention: str) -> Labels:
    content = json.loads(file.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    out: Labels = []
    for row in content["annotations"]:
        points = row["keypoints"]
        points = np.array(json.loads(points) if isinstance(points, str) else points, float)
        points = reorder(points.reshape(-1, 3), convention)
        seen = points[:, 2] > 0
        if seen.sum() > 15 and not any(np.array_equal(points[:, :2], p) for _, p, _ in out):
            out.append((str(file.parent / names[row["image_id"]]), points[:, :2], seen))
    return out


def read_mediapipe(root: Path, digit: str, count: int) -> Labels:
    images = json.loads((root / "mediapipe_reference.json").read_text())["images"]
    rows = [(n, r) for n, r in images.items() if n.startswith(f"{digit}/") and r]
    return [
        (str(root / "images" / n), np.array(r["landmarks_px"])[:, :2], np.ones(21, bool))
        for n, r in rows[:: max(1, len(rows) // count)]
    ]


def fit(surface: HandSurface, uv: Tensor, seen: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Joints (B,21,2) fitted under weak perspective to labels uv (B,21,2), seen (B,21); loss (B,).

    Eight starting views get a quarter of the steps, the best of each label the rest.
    """
    quarter, half = torch.meshgrid(torch.arange(4.0), torch.arange(2.0), indexing="ij")
    views = roma.euler_to_unitquat(
        "zy", [quarter.flatten() * torch.pi / 2, half.flatten() * torch.pi]
    )
    rest = joint_angles(surface.rest_joints).expand(len(uv), 15, 3)
    starts = [
        descend(surface, uv, seen, view.expand(len(uv), 4), rest, steps // 4) for view in views
    ]
    best = torch.stack([loss for *_, loss in starts]).argmin(0)
    turn, angles = (
        torch.stack(state)[best, torch.arange(len(uv))]
        for state in zip(*[(t, a) for t, a, *_ in starts], strict=True)
    )
    *_, fitted, loss = descend(surface, uv, seen, turn, angles, steps)
    return fitted, loss


def descend(
    surface: HandSurface, uv: Tensor, seen: Tensor, turn: Tensor, angles: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Adam from quaternions (B,4) and angles (B,15,3): both, fitted joints (B,21,2), loss (B,)."""
    rest = joint_angles(surface.rest_joints)
    weight = seen[..., None].float()
    size = (uv.amax(1) - uv.amin(1)).amax(-1)[:, None, None]
    centre = (uv * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    target = weight * (uv - centre) / size
    turn, angles = turn.clone().requires_grad_(), angles.clone().requires_grad_()
    adam = torch.optim.Adam([turn, angles], lr=0.03)
    for _ in range(steps):
        rotations = rotations_from_angles(angles, surface.rest_joints)
        view = roma.unitquat_to_rotmat(turn / turn.norm(dim=1, keepdim=True))
        _, joints = surface(torch.cat([view[:, None], rotations[:, 1:]], 1))
        flat = joints[..., :2]
        flat = flat - (flat * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
        inner = (flat * target).sum((1, 2)) / (flat * flat * weight).sum((1, 2))
        fitted = inner.clamp(min=1e-3)[:, None, None] * flat
        error = ((fitted * weight - target) ** 2).sum((1, 2))
        excess = (ANGLE_LIMITS[..., 0] - angles).relu() + (angles - ANGLE_LIMITS[..., 1]).relu()
        loss = error + (excess**2).sum((1, 2)) + 1e-4 * ((angles - rest) ** 2).sum((1, 2))
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
    return turn.detach(), angles.detach(), (fitted * size + centre).detach(), loss.detach()


def draw(labels: Labels, fitted: np.ndarray, folder: Path) -> None:
    """Labels green, fitted joints red, three times enlarged."""
    folder.mkdir(parents=True, exist_ok=True)
    for (name, uv, seen), joints in zip(labels, fitted, strict=True):
        low, high = uv[seen].min(0) - 30, uv[seen].max(0) + 30
        factor = 700 / (high - low).max()
        image = Image.open(name).convert("RGB").crop((*low.astype(int), *high.astype(int)))
        image = image.resize([int(s * factor) for s in image.size])
        pen = ImageDraw.Draw(image)
        for points, colour in ((uv, "lime"), (joints, "red")):
            at = (points - low.astype(int) + 0.5) * factor
            for joint in range(1, 21):
                if colour == "red" or (seen[joint] and seen[PARENTS[joint]]):
                    pen.line([tuple(at[PARENTS[joint]]), tuple(at[joint])], fill=colour, width=2)
            for x, y in at[seen]:
                pen.ellipse([x - 4, y - 4, x + 4, y + 4], outline=colour, width=2)
        image.save(folder / f"{Path(name).stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("realdata", type=Path)
    parser.add_argument("--overlays", type=Path, help="folder for pictures")
    parser.add_argument("--asset", type=Path, help="another bake, for comparison")
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    surface = HandSurface()
    surface.template, surface.weights = surface.template[:1], surface.weights[:1]  # joints only
    if args.asset:
        surface.rest_joints = torch.from_numpy(np.load(args.asset)["rest_joints"])
    samples = args.realdata / "dataset-samples"
    sources = {
        name: read_coco(samples / name / f"test_{name}.json", order)
        for name, order in (
            ("freihand", "freihand"),
            ("onehand10k", "onehand10k"),
            ("panoptic", "panoptic"),
            ("rhd", "rhd"),
        )
    }
    sources["sign-digits 5"] = read_mediapipe(args.realdata / "sign-digits", "5", 40)
    for name, labels in sources.items():
        uv = torch.tensor(np.stack([uv for _, uv, _ in labels])).float()
        seen = torch.tensor(np.stack([seen for *_, seen in labels]))
        right, loss = fit(surface, uv, seen, args.steps)
        mirror = torch.tensor([-1.0, 1.0])
        left, mirrored_loss = fit(surface, uv * mirror, seen, args.steps)
        joints = torch.where((loss < mirrored_loss)[:, None, None], right, left * mirror)
        box = (uv.amax(1) - uv.amin(1)).amax(-1)[:, None]
        off = (joints - uv).norm(dim=-1) / box
        bone = joints[:, 1:] - joints[:, list(PARENTS[1:])]
        length = bone.norm(dim=-1)
        beyond = ((uv - joints)[:, 1:] * bone).sum(-1) / length.clamp(min=1e-6) / box
        told = seen[:, 1:] & (length / box > 0.03)  # bones along the view say nothing
        print(f"{name}: {len(labels)} hands, mean {100 * off[seen].mean():.2f}% of the box")
        mean = (beyond * told).sum(0) / told.sum(0)
        for start in range(0, 20, 4):
            cells = [
                f"{JOINT_NAMES[j + 1]:10s} {100 * mean[j]:+.1f}" for j in range(start, start + 4)
            ]
            print("   ", "  ".join(cells))
        if args.overlays:
            draw(labels, joints.numpy(), args.overlays / name.replace(" ", "-"))


if __name__ == "__main__":
    main()

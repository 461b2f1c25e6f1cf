"""The pictures of docs/synth.md: factors varied alone, both renderers, modalities, the domains.

.venv/bin/python tools/synth_pictures.py docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from auxhand.data.background import Backgrounds, composite
from auxhand.data.columns import decode_image
from auxhand.synth.build import PARTS
from auxhand.synth.config import FactorConfig, OccluderConfig, SleeveConfig
from auxhand.synth.config_file import load_config
from auxhand.synth.distributions import GROUPS, sample_factors
from auxhand.synth.factors import Factors
from auxhand.synth.factory import Job, make_sample, render_factors
from auxhand.synth.modalities import Renderer, render_hand
from auxhand.synth.vary import vary
from auxhand.viz import JOINT_COLOURS, draw_skeleton, grid

SIZE, COLUMNS = 128, 7
CONFIGS = Path(__file__).parents[1] / "configs" / "synth"
START = {
    "side": "right",
    "view": {"roll": 0.15, "pitch": 0.2, "yaw": 0.3},
    "sensor": {"blur": 0.0, "exposure": 0.0, "balance": [1, 1], "read": 0.0, "shot": 0.0},
    "sleeve": None,
    "occluders": [],
}
PART_COLOURS = np.array(
    [(24, 24, 24), (205, 190, 170), *JOINT_COLOURS[4::4], (120, 120, 120)], np.uint8
)


def picture(factors: Factors) -> np.ndarray:
    """(SIZE, SIZE, 3) as the factory stores it."""
    return decode_image(render_factors(factors, SIZE, Backgrounds())["image"])


def factor_sheet() -> np.ndarray:
    """A row for each group of factors: the same hand, that group drawn anew."""
    config = FactorConfig(
        occluders=OccluderConfig(held=0.6, front=0.6),
        sleeve=SleeveConfig(share=1.0, start=(0.01, 0.05)),
    )
    start = sample_factors(FactorConfig(fixed=START), 12, 5)
    pictures, labels = [], []
    for group in GROUPS:
        for column in range(COLUMNS):
            varied = vary(start, group, config, seed=3, index=column) if column else start
            pictures.append(picture(varied))
            labels.append(group if column else "the hand")
    return grid(pictures, COLUMNS, cell=SIZE, labels=labels)


def renderer_sheet() -> np.ndarray:
    """The same scenes by both renderers."""
    pictures, labels = [], []
    for renderer in ("raster", "pathtrace"):
        for index in range(COLUMNS):
            hand = render_hand(sample_factors(FactorConfig(), 21, index), SIZE, renderer)
            wall = np.full((SIZE, SIZE, 3), 0.35, np.float32)
            pictures.append((composite(hand.rendering.rgba, wall) * 255).astype(np.uint8))
            labels.append(renderer)
    return grid(pictures, COLUMNS, cell=SIZE, labels=labels)


def domain_sheet(name: str, renderer: Renderer) -> np.ndarray:
    """The first hands of a domain, as its seed 0 draws them."""
    job = Job(7 * 9, 0, SIZE, load_config(CONFIGS / f"{name}.yaml"), renderer=renderer)
    pictures = [decode_image(make_sample(job, index)["image"]) for index in range(job.count)]
    labels = [sample_factors(job.config, 0, i).pose.name for i in range(job.count)]
    return grid(pictures, 9, cell=SIZE, labels=labels)


def modality_sheet() -> np.ndarray:
    """One hand a row: image, cut-out, depth, mask, parts, joints, heatmaps."""
    pictures, labels = [], []
    for index in (1, 6, 9):
        factors = sample_factors(FactorConfig(occluders=OccluderConfig(held=1.0)), 33, index)
        hand = render_hand(factors, SIZE)
        image, depth = picture(factors), hand.rendering.depth
        near, far = depth[depth > 0].min(), depth.max()
        grey = np.where(depth > 0, 255 - 190 * (depth - near) / (far - near), 0).astype(np.uint8)
        maps = cv2.resize(hand.heatmaps(sigma=1.2).amax(0).numpy(), (SIZE, SIZE))
        views = {
            "image": image,
            "cut-out": hand.rendering.rgba[..., :3],
            "depth": cv2.merge([grey] * 3),
            "mask": cv2.merge([hand.mask.astype(np.uint8) * 255] * 3),
            "parts": PART_COLOURS[hand.parts],
            "joints": draw_skeleton(image, hand.labels.joints_uv, hand.labels.joints_xyz[:, 2]),
            "heatmaps": cv2.merge([(maps * 255).astype(np.uint8)] * 3),
        }
        pictures += views.values()
        labels += views.keys()
    return grid(pictures, COLUMNS, cell=SIZE, labels=labels)


def main() -> None:
    assert len(PART_COLOURS) == len(PARTS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the pictures go, e.g. docs/images")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, sheet in (
        ("synth_factors", factor_sheet),
        ("synth_renderers", renderer_sheet),
        ("synth_modalities", modality_sheet),
        ("synth_source", lambda: domain_sheet("source", "raster")),
        ("synth_target", lambda: domain_sheet("target", "pathtrace")),
        ("synth_person", lambda: domain_sheet("person", "raster")),
    ):
        bgr = cv2.cvtColor(sheet(), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{name}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()

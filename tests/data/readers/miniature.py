"""Rendered hands, and joints by name, from which tests write datasets in their own layouts."""

import json
import pickle
from functools import cache
from types import SimpleNamespace

import cv2
import numpy as np

from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import sample_factors
from auxhand.synth.modalities import render_hand

SIZE = 96
OURS = [
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *("index_mcp", "index_pip", "index_dip", "index_tip"),
    *("middle_mcp", "middle_pip", "middle_dip", "middle_tip"),
    *("ring_mcp", "ring_pip", "ring_dip", "ring_tip"),
    *("pinky_mcp", "pinky_pip", "pinky_dip", "pinky_tip"),
]
RHD = [
    "wrist",
    *("thumb_tip", "thumb_ip", "thumb_mcp", "thumb_cmc"),
    *("index_tip", "index_dip", "index_pip", "index_mcp"),
    *("middle_tip", "middle_dip", "middle_pip", "middle_mcp"),
    *("ring_tip", "ring_dip", "ring_pip", "ring_mcp"),
    *("pinky_tip", "pinky_dip", "pinky_pip", "pinky_mcp"),
]
INTERHAND = [*RHD[1:], "wrist"]
MANO = [
    "wrist",
    *("index_mcp", "index_pip", "index_dip"),
    *("middle_mcp", "middle_pip", "middle_dip"),
    *("pinky_mcp", "pinky_pip", "pinky_dip"),
    *("ring_mcp", "ring_pip", "ring_dip"),
    *("thumb_cmc", "thumb_mcp", "thumb_ip"),
]


@cache
def hand(index, size=SIZE):
    """A rendered hand: image uint8 RGB, K, xyz, uv, side, depth and mask; joints by our names."""
    made = render_hand(sample_factors(FactorConfig(), 5, index), size)
    rgba = made.rendering.rgba
    rng = np.random.default_rng(index)
    noise = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (size, size))
    alpha = rgba[..., 3:] / 255.0
    image = (alpha * rgba[..., :3] + (1 - alpha) * noise).round().astype(np.uint8)
    labels = made.labels
    return SimpleNamespace(
        image=image,
        K=np.asarray(labels.K, np.float64),
        xyz=dict(zip(OURS, labels.joints_xyz.astype(np.float64), strict=True)),
        uv=dict(zip(OURS, labels.joints_uv.astype(np.float64), strict=True)),
        side=labels.side,
        depth=made.rendering.depth,
        mask=np.asarray(made.mask),
    )


def through(shown, K, size):
    """The hand as another pinhole at the same place sees it: image, uv, depth and mask anew."""
    A = K @ np.linalg.inv(shown.K)

    def warp(values, how):
        return cv2.warpPerspective(values, A, (size, size), flags=how)

    uv = {name: (K @ p / p[2])[:2] for name, p in shown.xyz.items()}
    return SimpleNamespace(
        image=warp(shown.image, cv2.INTER_LINEAR),
        K=K,
        xyz=shown.xyz,
        uv=uv,
        side=shown.side,
        depth=warp(shown.depth, cv2.INTER_NEAREST),
        mask=warp(shown.mask.astype(np.uint8), cv2.INTER_NEAREST) > 0,
    )


def array(joints, names=OURS):
    """(len(names), D) in the order of `names`."""
    return np.array([joints[name] for name in names])


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image[..., ::-1] if image.ndim == 3 else image
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_pickle(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, 2))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shown(sample):
    """uint8 (H, W, 3) of a sample's image."""
    return (sample.image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def assert_like(image, wanted, most=12.0):
    """Equal but for what JPEG does."""
    assert image.shape == wanted.shape
    assert np.abs(image.astype(float) - wanted).mean() < most


def reprojected(sample):
    """(21, 2) pixels of joints_xyz, by hand."""
    uvw = sample.joints_xyz.double().numpy() @ sample.K.double().numpy().T
    return uvw[:, :2] / uvw[:, 2:]


def mano_file(path):
    """A right hand in MANO's format whose 16 joints are its first 16 vertices; its content."""
    rng = np.random.default_rng(1)
    rest = array(hand(0).xyz, MANO)
    rest = (rest - rest[0]) * (1 if hand(0).side == "right" else np.array([-1, 1, 1]))
    template = np.concatenate([rest, rng.normal(0, 0.05, (762, 3))])
    template[[744, 320, 443, 555, 672]] = rest[[15, 3, 6, 12, 9]] * 1.3
    tree = np.array([[2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)])
    weights = np.zeros((778, 16))
    weights[np.arange(778), np.arange(778) % 16] = 1
    for tip, joint in zip((744, 320, 443, 555, 672), (15, 3, 6, 12, 9), strict=True):
        weights[tip] = np.eye(16)[joint]
    # Fingers bend about the axis that takes them to the palm: across the hand of each side.
    across = rest[1] - rest[7]
    content = {
        "v_template": template,
        "shapedirs": np.zeros((778, 3, 10)),
        "posedirs": np.zeros((778, 3, 135)),
        "J_regressor": np.eye(16, 778),
        "weights": weights,
        "f": np.zeros((1, 3), np.uint32),
        "kintree_table": tree.astype(np.uint32),
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_mean": np.tile(0.3 * across / np.linalg.norm(across), 15),
    }
    write_pickle(path, content)
    return content

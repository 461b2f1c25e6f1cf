"""Fig. 7.1, 7.5 and 7.6 for docs/results/dual_modality.md, from what dual_modality.py has trained.

    python benchmarks/accuracy/dual_modality_figures.py

On images of the target's test set: what the RGB branch says, and the attention of conv1 on it,
before fine-tuning ("w/ SG") and after it ("+Lf"); 2D poses of the methods of Table 7.1 that are
there, beside the true ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from auxhand.checkpoint import read_checkpoint
from auxhand.data.columns import encode_png
from auxhand.data.store import PreparedDataset
from auxhand.evaluation.protocol import EvaluationCrops
from auxhand.files import writing
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.models.dual_branch import DualBranch
from auxhand.sample import HandBatch
from auxhand.training import LAST, assemble
from auxhand.viz import draw_mask, draw_skeleton, grid

sys.path.append(str(Path(__file__).parents[1]))
from figures import TILE, picture
from frame import file_name

HANDS = (3, 5, 8, 11)  # whichever they are: nothing is chosen
STAGES = {"w/ SG": "before", "+Lf": "after"}
"""Rows of Table 7.2, and when that is (Fig. 7.6)."""

COMPARED = {"none": "baseline", "AnimalDA": "AnimalDA", "RegDA": "RegDA", "CC-SSL": "CC-SSL"}
COMPARED |= {"SemiHand": "SemiHand", "+Lf": "ours"}
"""Trainings, and what Fig. 7.5 calls them."""

DEPTH_REACH = 2.0  # reference lengths before and behind the root
ATTENTION_REACH = 3.0  # the weights of a map average 1


def run_folder(runs: Path, training: str) -> Path:
    """Folder of the first seed of a training."""
    return runs / f"{file_name(training)}_0"


def crops_of(test: Path, size: int) -> HandBatch:
    """The crops of `HANDS`, as every method of the table is tested on."""
    rule = assemble([Path("configs/laptop/dual_modality.yaml")]).datamodule.contents.crop
    (batch,) = EvaluationCrops(Subset(PreparedDataset(test), list(HANDS)), size, rule).batches()
    return batch


# ---- Fig. 7.1 and 7.6 ----


def trained(run: Path) -> DualBranch:
    """The three branches as a run has left them."""
    model = assemble([run / "config.yaml"]).model
    model.load_state_dict(read_checkpoint(run / LAST)["state_dict"])
    network = model.eval().network
    assert isinstance(network, DualBranch)
    return network


@torch.inference_mode()
def before_and_after(runs: Path, batch: HandBatch, out: Path) -> None:
    """Two rows for each hand: depth map, mask and pose of the RGB branch, the attention of conv1
    on the predicted depth, and the RGB image under it."""
    size = batch.image.shape[-1]
    tiles: list[list[np.ndarray]] = [[] for _ in HANDS]
    labels = []
    for training, when in STAGES.items():
        network = trained(run_folder(runs, training))
        said = network.see(batch.image).pose
        assert said.uv is not None
        assert said.mask is not None
        assert said.depth is not None
        weights = network.attentions(said.depth, (size, size))[0]
        for hand, image in enumerate(batch.image):
            seen = picture(image)
            attention = _as_large(weights[hand, 0])
            shown = seen * np.clip(attention / ATTENTION_REACH, 0, 1)[..., None]
            tiles[hand] += [
                seen,
                heat(_as_large(-said.depth[hand]), -DEPTH_REACH, DEPTH_REACH),
                draw_mask(seen, np.clip(_as_large(said.mask[hand]), 0, 1)),
                draw_skeleton(seen, _in_tile(said.uv[hand], size)),
                heat(attention, 0, ATTENTION_REACH),
                shown.round().astype(np.uint8),
            ]
        labels += [f"image, {when}", "depth", "mask", "pose", "attention", "on the image"]
    sheet = grid([t for row in tiles for t in row], 6, 128, labels * len(HANDS))
    with writing(out / "dual_modality_attention.png") as temporary:
        temporary.write_bytes(encode_png(sheet))


def heat(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W) numbers -> (H, W, 3) uint8, `low` blue and `high` red."""
    share = np.clip((values - low) / (high - low), 0, 1)
    bgr = cv2.applyColorMap((share * 255).round().astype(np.uint8), cv2.COLORMAP_TURBO)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _as_large(values: Tensor) -> np.ndarray:
    """(h, w) numbers -> (TILE, TILE)."""
    return cv2.resize(values.float().numpy(), (TILE, TILE), interpolation=cv2.INTER_LINEAR)


def _in_tile(uv: Tensor, size: int) -> np.ndarray:
    """(21, 2) pixels of a crop -> of its tile."""
    return ((uv + 0.5) * (TILE / size) - 0.5).numpy()


# ---- Fig. 7.5 ----


@torch.inference_mode()
def poses(runs: Path, batch: HandBatch, out: Path) -> None:
    """A row of 2D poses for each hand: of each method that is there, and the true one."""
    size = batch.image.shape[-1]
    uv = {}
    for training, name in COMPARED.items():
        bundle = run_folder(runs, training) / "bundle"
        if bundle.is_dir():
            uv[name] = HandPoseEstimator.load(bundle).bundle.predict(batch).uv
    uv["truth"] = batch.joints_uv
    tiles = [
        draw_skeleton(picture(image), _in_tile(each[hand], size))
        for hand, image in enumerate(batch.image)
        for each in uv.values()
    ]
    sheet = grid(tiles, len(uv), 160, [*uv] * len(HANDS))
    with writing(out / "dual_modality_poses.png") as temporary:
        temporary.write_bytes(encode_png(sheet))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", type=Path, default=Path("data/domains/person-test"))
    parser.add_argument("--runs", type=Path, default=Path("runs/dual_modality"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    batch = crops_of(options.test, 64)
    if all((run_folder(options.runs, row) / LAST).is_file() for row in STAGES):
        before_and_after(options.runs, batch, options.out)
    poses(options.runs, batch, options.out)


if __name__ == "__main__":
    main()

"""Fig. 6.6 to 6.10 for docs/results/semihand.md, from what semihand.py has trained.

    python benchmarks/accuracy/semihand_figures.py

Draws what is there: how predictions move from one iteration of "SemiHand" to the next on images of
the target (Fig. 6.9), PCK curves (Fig. 6.6 to 6.8), EPE against the share of the target's images
(Fig. 6.10).
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from semihand import LABELS, SOURCE_ONLY, TRAINED, of_share
from torch.utils.data import Subset

from auxhand.checkpoint import read_checkpoint
from auxhand.data.columns import encode_png
from auxhand.data.store import PreparedDataset
from auxhand.evaluation.protocol import EvaluationCrops
from auxhand.files import writing
from auxhand.training import LAST, assemble
from auxhand.viz import JOINT_COLOURS, draw_skeleton, grid

sys.path.append(str(Path(__file__).parents[1]))
from figures import TILE, draw_shares, errors, pck_figure, picture
from frame import SHARES, file_name

HANDS = (3, 5, 8, 12)  # whichever they are: nothing is chosen
CURVES = (
    *(SOURCE_ONLY, "vc+cc", "pseudo-labels", "SemiHand"),
    *("target only", "source+target (bound)"),
)


# ---- Fig. 6.9 ----


def iterations(run: Path) -> list[Path]:
    """Checkpoints of a run after each of its epochs; of one that was made twice, the newer."""
    files = sorted((run / "checkpoints").glob("epoch=*.ckpt"), key=lambda f: f.stat().st_mtime_ns)
    by_epoch = {int(file.stem.split("-")[0].partition("=")[2]): file for file in files}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


@torch.inference_mode()
def arrows(runs: Path, target: Path, out: Path) -> None:
    """A row of tiles for each of `HANDS`: the pre-trained network's pose, how each iteration moves
    it, the last pose, the true one."""
    run = runs / f"{file_name('SemiHand')}_0"
    cli = assemble([run / "config.yaml"])
    crops = EvaluationCrops(
        Subset(PreparedDataset(target), list(HANDS)),
        cli.datamodule.schedule.size(0),
        cli.datamodule.contents.crop,
    )
    (batch,) = crops.batches()
    poses = []
    for file in (runs / f"{file_name(TRAINED)}_0" / LAST, *iterations(run)):
        cli.model.load_state_dict(read_checkpoint(file)["state_dict"])
        poses.append(cli.model.eval()(batch.image).uv)
    scale = TILE / batch.image.shape[-1]
    moves = ((torch.stack([*poses, batch.joints_uv]) + 0.5) * scale - 0.5).numpy()
    tiles = []
    for hand, image in enumerate(batch.image):
        seen, own = picture(image), moves[:, hand]
        tiles += [
            draw_skeleton(seen, own[0]),
            *(_moved(seen, before, after) for before, after in pairwise(own[:-1])),
            *(draw_skeleton(seen, pose) for pose in own[-2:]),
        ]
    labels = [TRAINED, *(str(n) for n in range(1, len(poses))), "SemiHand", "truth"]
    sheet = grid(tiles, len(labels), 128, labels * len(HANDS))
    with writing(out / "semihand_arrows.png") as temporary:
        temporary.write_bytes(encode_png(sheet))


def _moved(picture: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The picture, darker, with an arrow for each joint, from (21, 2) pixels to others."""
    canvas = picture // 2
    for start, end, colour in zip(before, after, JOINT_COLOURS, strict=True):
        ends = ([round(float(x)) for x in point] for point in (start, end))
        cv2.arrowedLine(canvas, *ends, colour, 2, cv2.LINE_AA, tipLength=0.35)
    return canvas


# ---- Fig. 6.6 to 6.8, 6.10 ----


def shares(results: Path, out: Path) -> None:
    """EPE on the target's test set against the share of its training images."""
    epe = errors(results)
    figure = Figure(figsize=(5.5, 4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kinds = {kind: by_share(kind, epe) for kind in ("SemiHand", *LABELS)}
    if SOURCE_ONLY in epe:
        axes.axhline(epe[SOURCE_ONLY], color="0.4", linestyle="--", label=SOURCE_ONLY)
    draw_shares(axes, kinds, "images of the target")
    with writing(out / "semihand_shares.png") as temporary:
        figure.savefig(temporary, format="png")


def by_share(kind: str, epe: dict[str, float]) -> list[tuple[int, float]]:
    """(percent of the target's images, EPE) of the rows that are there."""
    names = {share: of_share(kind, share) for share in SHARES}
    return [(share, epe[name]) for share, name in names.items() if name in epe]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=Path("data/domains/person"))
    parser.add_argument("--runs", type=Path, default=Path("runs/semihand"))
    parser.add_argument("--results", type=Path, default=Path("results/semihand.json"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    if iterations(options.runs / f"{file_name('SemiHand')}_0"):
        arrows(options.runs, options.target, options.out)
    pck_figure(options.results, CURVES, options.out / "semihand_pck.png")
    shares(options.results, options.out)


if __name__ == "__main__":
    main()

"""Fig. 5.3 to 5.5 and 5.8 for docs/methods/alignment.md, from what alignment.py has trained.

    python benchmarks/accuracy/alignment_figures.py

Draws what is there: reconstructions and walks of "S4 RC2CHP x5" on hands of the test set, PCK and
validation curves of the strategies, the latter at five times the budget as well, EPE against the
share of labels.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from alignment import trained
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from auxhand.data.columns import encode_png
from auxhand.geometry.pose25d import relative
from auxhand.inference.latent import walk
from auxhand.viz import draw_cloud, draw_hand, grid

sys.path.append(str(Path(__file__).parents[1]))
from figures import draw_shares, errors, pck_figure, picture
from frame import SHARES, file_name

POSE_REACH, CLOUD_REACH = 2.7, 0.13  # reference lengths; metres
HANDS = (3, 17, 40, 58, 71, 90, 112, 133)
WALKS = ((3, 58), (17, 112))
STRATEGIES = (
    *("S1 R2P", "S2 R2HP", "S2 R2CP", "S2 R2CHP", "S3 RC2CHP", "S3 RC2CHP beta' 1"),
    *("S4 RC2CHP", "S1 R2P no vc", "Spurr RP2RP"),
)
LONGER = ("S1 R2P", "S4 RC2CHP", "S1 R2P x5", "S4 RC2CHP x5")


@torch.inference_mode()
def drawings(run: Path, test: Path, out: Path) -> None:
    """Reconstructions (Fig. 5.3) and walks (Fig. 5.4) of a run on hands of the test set."""
    model, data = trained(run, test)
    network, crops = model.estimator(), data.evaluation_set
    numbers = sorted({*HANDS, *(i for pair in WALKS for i in pair)})
    batches = list(data.val_dataloader())
    images = torch.cat([batch.image for batch in batches])
    xyz = relative(torch.cat([batch.joints_xyz for batch in batches]))
    clouds = torch.cat([batch.cloud for batch in batches])
    assert len(images) == len(crops)
    codes = {i: network.encode(images[i : i + 1])[0] for i in numbers}

    def decoded(z: torch.Tensor) -> tuple[list[np.ndarray], list[np.ndarray]]:
        hands = network.decode(z, images.shape[-1])
        return (
            [draw_hand(hand, POSE_REACH) for hand in hands.xyz.numpy()],
            [draw_cloud(cloud, CLOUD_REACH) for cloud in hands.cloud.numpy()],
        )

    poses, surfaces = decoded(torch.stack([codes[i] for i in HANDS]))
    rows = [
        [picture(images[i]) for i in HANDS],
        [draw_hand(xyz[i].numpy(), POSE_REACH) for i in HANDS],
        poses,
        [draw_cloud(clouds[i].numpy(), CLOUD_REACH) for i in HANDS],
        surfaces,
    ]
    sheet = grid([tile for row in rows for tile in row], columns=len(HANDS), cell=128)
    (out / "alignment_reconstructions.png").write_bytes(encode_png(sheet))

    tiles = []
    for start, end in WALKS:
        ends = picture(images[start]), picture(images[end])
        for row in decoded(walk(codes[start], codes[end], 7)):
            tiles += [ends[0], *row, ends[1]]
    (out / "alignment_walks.png").write_bytes(encode_png(grid(tiles, columns=9, cell=128)))


def plots(results: Path, out: Path) -> None:
    """PCK (Fig. 5.5) and validation curves, EPE against the share of labels (Fig. 5.8)."""
    curves = results.with_suffix("")
    pck_figure(results, STRATEGIES, out / "alignment_pck.png")

    rows = errors(results)
    figure = Figure(figsize=(14, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    *training, shares = figure.subplots(1, 3)
    for axes, names in zip(training, (STRATEGIES, LONGER), strict=True):
        for name in names:
            file = curves / f"val_{file_name(name)}_0.csv"
            if file.is_file():
                images, epe = np.loadtxt(file, delimiter=",", ndmin=2).T
                axes.plot(images / 1000, epe, label=name, linewidth=1.2)
        axes.set(xlabel="RGB images seen, thousands", ylabel="validation EPE (mm)", ylim=(14, 60))
        axes.legend(loc="upper right", fontsize="x-small")
    kinds = ("supervised {}%", "weak {}%", "weak {}% equal images")
    by_kind = {kind.replace(" {}%", ""): _epe_by_share(kind, rows) for kind in kinds}
    draw_shares(shares, by_kind, "labelled samples")
    for axes in training:
        axes.grid(alpha=0.3)
    figure.savefig(out / "alignment_curves.png")


def _epe_by_share(kind: str, rows: dict[str, float]) -> list[tuple[int, float]]:
    """(percent of the labels, EPE) of the rows that are there; `kind` is their name but for it."""
    names = {m: kind.format(m) for m in SHARES[:-1]} | {100: "S4 RC2CHP"}
    return [(m, rows[name]) for m, name in names.items() if name in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", type=Path, default=Path("data/domains/source-test"))
    parser.add_argument("--results", type=Path, default=Path("results/alignment.json"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    run = Path("runs/alignment") / "S4_RC2CHP_x5_0"
    if (run / "checkpoints" / "last.ckpt").is_file():
        drawings(run, options.test, options.out)
    plots(options.results, options.out)


if __name__ == "__main__":
    main()

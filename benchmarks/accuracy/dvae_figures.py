"""Fig. 4.7 and 4.9 for docs/results/dvae.md, from what dvae.py has measured.

    python benchmarks/accuracy/dvae_figures.py

Draws what is there: PCK curves of 3D poses, EPE against the share of labelled samples.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dvae import COMPARED, SCARCE
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from auxhand.files import writing

sys.path.append(str(Path(__file__).parents[1]))
from figures import draw_shares, errors, pck_figure

KINDS = {"": "supervised", "semi": "semi-supervised", "weak": "weakly supervised"}


def by_share(kind: str, epe: dict[str, float]) -> list[tuple[int, float]]:
    """(percent of the labels, EPE) of the rows that are there; all have the last one."""
    return [
        (m, epe[name])
        for name, (its_kind, m) in SCARCE.items()
        if name in epe and (its_kind == kind or m == 100)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results/dvae.json"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    pck_figure(options.results, ("dVAE", *COMPARED), options.out / "dvae_pck.png")
    epe = errors(options.results)
    figure = Figure(figsize=(5.5, 4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    kinds = {label: by_share(kind, epe) for kind, label in KINDS.items()}
    draw_shares(figure.add_subplot(), kinds, "labelled samples")
    with writing(options.out / "dvae_shares.png") as temporary:
        figure.savefig(temporary, format="png")


if __name__ == "__main__":
    main()

"""What an adaptation has done, as a page with pictures inside and as JSON."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from auxhand.adaptation.judge import Measures, Verdict
from auxhand.data.columns import encode_jpeg
from auxhand.files import writing
from auxhand.viz import draw_skeleton

PAGE, NUMBERS = "report.html", "report.json"

SHOWN = 24
"""Crops whose poses before and after are shown."""

CELL = 200
"""Side of a picture."""

METHODS: Mapping[str, str] = {
    "semihand": "SemiHand (chapter 6)",
    "dual_modality": "fine-tuning of the dual-modality network (chapter 7)",
}
"""What a method is called."""

NAMES: Mapping[str, tuple[str, str, int]] = {
    "inconsistency": ("disagreement with itself when the picture is moved", "64ths of the crop", 2),
    "registration_residual": ("distance to the nearest hand of these proportions", "64ths", 2),
    "registered": ("poses that can be a hand's at all", "%", 0),
    "bone_length_variation": ("variation of bone lengths between pictures", "%", 1),
    "cost": ("C of Eq. 6.8, the middle one (trusted up to 1.5)", "64ths squared", 1),
    "trusted": ("predictions trusted as labels", "%", 0),
    "spread": ("spread of poses (must not shrink)", "64ths", 2),
    "error_on_rendered_hands": ("error on rendered hands (must not grow much)", "64ths", 2),
}
"""What is measured, its unit and decimals."""


def write(
    out: Path,
    images: Tensor,
    before: Measures,
    after: Measures,
    verdict: Verdict,
    told: Mapping[str, Any],
) -> None:
    """Write both files.

    Args:
        out: the folder.
        images: (N, 3, S, S) held-out crops.
        before, after: what the two models say of them.
        verdict: which model was kept, and why.
        told: counts, minutes, the epochs, the settings.
    """
    numbers = {
        "better": verdict.better,
        "reasons": list(verdict.reasons),
        "before": _plain(before.summary()),
        "after": _plain(after.summary()),
        **told,
        "epochs": [_plain(line) for line in told["epochs"]],
    }
    page = _page(verdict, before, after, _figures(images, before, after), told)
    for name, text in (
        (PAGE, page),
        (NUMBERS, json.dumps(numbers, indent=2, allow_nan=False) + "\n"),
    ):
        with writing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """None for what is no number, which JSON cannot say."""
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _figures(images: Tensor, before: Measures, after: Measures) -> list[str]:
    """Overlays of evenly spaced crops, each before and after, as data addresses."""
    count = min(SHOWN, len(images))
    pages = []
    for k in range(count):
        i = k * len(images) // count
        pixels = (images[i].permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
        pages.append(_address(np.hstack([_drawn(pixels, m, i) for m in (before, after)])))
    return pages


def _drawn(pixels: np.ndarray, said: Measures, i: int) -> np.ndarray:
    scale = CELL / pixels.shape[0]
    large = cv2.resize(pixels, (CELL, CELL), interpolation=cv2.INTER_CUBIC)
    return draw_skeleton(large, (said.uv[i].numpy() + 0.5) * scale - 0.5, said.d[i].numpy())


def _address(picture: np.ndarray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, 88)).decode()


def _page(
    verdict: Verdict,
    before: Measures,
    after: Measures,
    figures: Sequence[str],
    told: Mapping[str, Any],
) -> str:
    title = (
        "The adapted model is better on your pictures and was kept"
        if verdict.better
        else "Adaptation did not make the model better: the original weights were kept"
    )
    pictures = "\n".join(f'<img src="{address}" alt="before and after">' for address in figures)
    reasons = "\n".join(f"<li>{html.escape(reason)}</li>" for reason in verdict.reasons)
    counts = ", ".join(f"{count} {name}" for name, count in told["pictures"].items())
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>auxhand adapt</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 1300px; margin: 2em auto }}
table {{ border-collapse: collapse }} td, th {{ padding: .2em .8em; text-align: right }}
td:first-child, th:first-child {{ text-align: left }} tr + tr {{ border-top: 1px solid #ddd }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 8px }}
</style>
<h1>{title}</h1>
<p>{html.escape(_origin(told["settings"]))}
Pictures: {html.escape(counts)}. Crops: {told["crops"]} learnt from, {told["held_out"]} held out.
{told["minutes"]:.1f} minutes, {len(told["epochs"])} epochs. All figures below are of the held-out
crops; none of them is an error, since nobody has labelled these hands.</p>
<ul>{reasons}</ul>
<h2>Before and after</h2>
{_table(before.summary(), after.summary())}
<h2>Held-out crops: left before, right after</h2>
<div class="pictures">
{pictures}
</div>
<h2>Epochs</h2>
{_epochs(told["epochs"])}
</html>
"""


def _origin(settings: Mapping[str, Any]) -> str:
    """Which method was run, from which weights."""
    return f"By {METHODS[settings['method']]} from {settings['start'] or settings['model']}."


def _table(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    rows = []
    for name, (what, unit, digits) in NAMES.items():
        factor = 100 if unit == "%" else 1
        cells = [f"{factor * said[name]:.{digits}f}" for said in (before, after)]
        rows.append(f"<tr><td>{what}, {unit}</td><td>{cells[0]}</td><td>{cells[1]}</td></tr>")
    head = "<tr><th></th><th>before</th><th>after</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _epochs(history: Sequence[Mapping[str, Any]]) -> str:
    shown = ("inconsistency", "registration_residual", "spread", "trusted")
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("epoch", *shown, "kept"))
    rows = [
        f"<tr><td>{line['epoch']}</td>"
        + "".join(f"<td>{line[name]:.2f}</td>" for name in shown)
        + f"<td>{'yes' if line['kept'] else ''}</td></tr>"
        for line in history
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"

"""Tables, results files, curves."""

import json
import time

import cv2
import pytest
import torch
from matplotlib.figure import Figure

from auxhand.evaluation.report import (
    Row,
    commit,
    is_done,
    machine,
    plot_pck,
    read_curve,
    read_rows,
    record,
    table,
    write_curve,
    write_rows,
)

ROWS = [
    Row("S1 R2P", {"epe_mm": [16.61], "auc_20_50": [0.8512]}, command="a", minutes=2.5),
    Row("S4 RC2CHP", {"epe_mm": [13.0, 14.0], "own": [2.0]}, command="b", seeds=[0, 1]),
]


def test_text_table() -> None:
    assert table(ROWS).splitlines() == [
        "             EPE (mm)  AUC 20-50    own",
        "-" * 39,
        "S1 R2P           16.6      0.851      -",
        "S4 RC2CHP  13.5 ± 0.7          -  2.000",
    ]


def test_markdown_table() -> None:
    assert table(ROWS, markdown=True).splitlines() == [
        "|           |   EPE (mm) | AUC 20-50 |   own |",
        "|-----------|-----------:|----------:|------:|",
        "| S1 R2P    |       16.6 |     0.851 |     - |",
        "| S4 RC2CHP | 13.5 ± 0.7 |         - | 2.000 |",
    ]


def test_rows_merge_by_name(tmp_path) -> None:
    path = tmp_path / "results" / "alignment.json"
    assert read_rows(path) == []
    write_rows(path, ROWS)
    assert read_rows(path) == ROWS
    again = Row("S1 R2P", {"epe_mm": [15.0]}, command="c")
    new = Row("S2 R2CP", {"epe_mm": [15.5]}, command="d")
    write_rows(path, [again, new])
    assert read_rows(path) == [again, ROWS[1], new]
    assert is_done(path, "S1 R2P", "c")
    assert not is_done(path, "S1 R2P", "a")
    content = json.loads(path.read_text())
    assert content["benchmark"] == "alignment"
    assert content["machine"] == machine()
    assert set(content["rows"][0]) == {"name", "metrics", "seeds", "minutes", "command", "commit"}
    assert [p.name for p in path.parent.iterdir()] == ["alignment.json"]


def test_a_row_is_recorded(tmp_path, monkeypatch) -> None:
    path, begun = tmp_path / "speed.json", 10.0
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    metrics = [{"epe_mm": 13.0, "own": 1.0}, {"epe_mm": 14.0, "own": 2.0}]
    row = record(path, "S4 RC2CHP", metrics, "b", begun, [0, 1])
    values = {"epe_mm": [13.0, 14.0], "own": [1.0, 2.0]}
    assert row == Row("S4 RC2CHP", values, "b", [0, 1], 1.5, commit())
    assert read_rows(path) == [row]
    with pytest.raises(ValueError, match="zip"):
        record(path, "one seed too many", metrics, "b", begun, [0, 1, 2])


def test_other_json_is_not_overwritten(tmp_path) -> None:
    path = tmp_path / "notes.json"
    for text in ("[1, 2", '{"rows": [{"title": 1}]}', "[]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"notes\.json is not a results file"):
            write_rows(path, ROWS)
        assert path.read_text() == text


def test_machine_and_commit_say_something() -> None:
    assert "cores" in machine()
    assert commit() == "" or len(commit()) in (9, 10)


def test_curve_files(tmp_path) -> None:
    thresholds = torch.linspace(0, 50, 101)
    curve = 1 - torch.exp(-thresholds / 12)
    write_curve(tmp_path / "curve.csv", thresholds, curve)
    for one, other in zip(read_curve(tmp_path / "curve.csv"), (thresholds, curve), strict=True):
        torch.testing.assert_close(one.float(), other, rtol=1e-5, atol=1e-5)
    plot_pck(tmp_path / "curve.png", {"a model": (thresholds, curve)})
    (tmp_path / "other").write_text("20   0.5 0.9 \n25;\t0.75; \n30, 1\n\n")
    thresholds, curve = read_curve(tmp_path / "other")
    torch.testing.assert_close(thresholds, torch.tensor([20.0, 25, 30]).double())
    torch.testing.assert_close(curve, torch.tensor([0.5, 0.75, 1]).double())
    (tmp_path / "other").write_text("0.1\n0.2\n0.4\n\n")
    thresholds, curve = read_curve(tmp_path / "other")
    torch.testing.assert_close(thresholds, torch.tensor([0.0, 1, 2]).double())
    torch.testing.assert_close(curve, torch.tensor([0.1, 0.2, 0.4]).double())
    for text in ("0.1\n1 0.2\n0.3\n", "mm pck\n1 2\n", ""):
        (tmp_path / "other").write_text(text)
        with pytest.raises(ValueError, match="other is no PCK curve"):
            read_curve(tmp_path / "other")
    image = cv2.imread(str(tmp_path / "curve.png"))
    assert image.shape == (600, 825, 3)
    assert (image < 128).any()


def test_published_curves_have_styles_of_their_own(tmp_path, monkeypatch):
    drawn = []

    def keep(figure, path, **_):
        drawn.extend(figure.axes[0].lines)

    monkeypatch.setattr(Figure, "savefig", keep)
    curve = torch.tensor([0.0, 50.0]), torch.tensor([0.0, 1.0])
    plot_pck(tmp_path / "a.png", {"ours": curve}, {f"their {n}": curve for n in range(30)})
    styles = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn}
    assert len(styles) == len(drawn) == 31

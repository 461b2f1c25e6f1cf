"""`auxhand synth` from the command line."""

from pathlib import Path

import pytest

from auxhand.cli.main import main
from auxhand.cli.synth import load_config
from auxhand.data.store import PreparedDataset
from auxhand.synth.build import build_scene
from auxhand.synth.distributions import FactorConfig, sample_factors

CONFIGS = Path(__file__).parents[2] / "configs" / "synth"


def run(*arguments):
    return main(["synth", *map(str, arguments)])


def test_makes_a_dataset_and_says_where(tmp_path, capsys):
    config = tmp_path / "factors.yaml"
    config.write_text("left: 1.0\npose:\n  shares: {fist: 1}\nfixed:\n  camera: {distance: 0.7}\n")
    out = tmp_path / "hands"
    code = run(out, "--count", 2, "--size", 32, "--workers", 1, "--config", config)
    assert code == 0
    assert str(out) in capsys.readouterr().out
    dataset = PreparedDataset(out)
    assert len(dataset) == 2
    assert dataset[1].side == "left"


def test_shipped_configurations():
    assert load_config(CONFIGS / "default.yaml") == FactorConfig()
    for path in CONFIGS.glob("*.yaml"):
        build_scene(sample_factors(load_config(path), 0, 0), 32)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("view: {uprigt: 1}", "uprigt"),
        ("camera: {near: 3}", "camera.near"),
        ("pose: {shares: {fists: 1}}", "fists"),
        ("fixed: {camra: {}}", "camra"),
        ("fixed: {shape: {finger_width: [1, 1]}}", "finger_width must be 5 numbers"),
        ("fixed: {pose: {angles: [0.1]}}", "pose.angles must be 45 numbers"),
        ("- a list", "a list"),
        ("a: [", "parsing"),
    ],
)
def test_wrong_configurations_cost_one_line(tmp_path, capsys, text, words):
    path = tmp_path / "factors.yaml"
    path.write_text(text)
    assert run(tmp_path / "out", "--count", 1, "--config", path) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--count", 0), "count"),
        (("--count", 1, "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("--count", 1, "--backgrounds", "nowhere"), "nowhere"),
        (("--count", 1, "--workers", 0), "workers"),
    ],
)
def test_mistakes_cost_one_line(tmp_path, capsys, arguments, words):
    assert run(tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_another_dataset_is_kept(tmp_path, capsys):
    out = tmp_path / "hands"
    assert run(out, "--count", 1, "--size", 32, "--workers", 1) == 0
    assert run(out, "--count", 1, "--size", 32, "--workers", 1, "--seed", 1) == 2
    assert "another seed" in capsys.readouterr().err

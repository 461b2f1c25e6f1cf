from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from auxhand.synth.build import build_scene
from auxhand.synth.config import FactorConfig
from auxhand.synth.config_file import load_config
from auxhand.synth.distributions import sample_factors

CONFIGS = Path(__file__).parents[2] / "configs" / "synth"


def test_shipped_configurations():
    assert load_config(CONFIGS / "default.yaml") == FactorConfig() == load_config()
    for path in CONFIGS.glob("*.yaml"):
        build_scene(sample_factors(load_config(path), 0, 0), 32)


def test_the_splits_of_the_domains_differ_in_people_and_backgrounds_alone():
    domains = {"source": ["test"], "target": ["val", "test"]}
    people = []
    for domain, others in domains.items():
        path = CONFIGS / f"{domain}.yaml"
        adding = [load_config(path, CONFIGS / f"{domain}_{other}.yaml") for other in others]
        splits = [load_config(path), *adding]
        seeds = sorted(c.background.seeds for c in splits)
        assert all(a[1] <= b[0] for a, b in pairwise(seeds))
        people += [c.people for c in splits]
        alike = {
            repr(replace(c, people=None, background=replace(c.background, seeds=(0, 1))))
            for c in splits
        }
        assert len(alike) == 1
    people.sort()
    assert all(a[1] <= b[0] for a, b in pairwise(people))


def test_later_configurations_win(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("left: 0.2\ncamera: {far_share: 0.1, near: [0.3, 0.4]}\n")
    second.write_text("camera: {near: [0.5, 0.6]}\n")
    config = load_config(first, second)
    assert (config.left, config.camera.far_share, config.camera.near) == (0.2, 0.1, (0.5, 0.6))
    assert load_config(second, first).camera.near == (0.3, 0.4)
    assert load_config(first).camera.far == FactorConfig().camera.far


def test_numbers_may_have_exponents_and_a_file_may_be_empty(tmp_path):
    path = tmp_path / "factors.yaml"
    path.write_text("left: 1e-1\nfixed: {camera: {distance: 5E-1}}\n")
    config = load_config(path)
    assert (config.left, config.fixed) == (0.1, {"camera": {"distance": 0.5}})
    path.write_text("# nothing\n")
    assert load_config(path) == FactorConfig()


@pytest.mark.parametrize(
    ("first", "second", "wrong"),
    [
        ("pose: {variation: 1}", "pose: 3", "b.yaml: pose"),
        ("pose: 3", "pose: {variation: 1}", "a.yaml: pose"),
        ("camera: {near: {a: 1}}", "camera: {near: [0.5, 0.6]}", "a.yaml: .*near"),
        ("camera: {near: [0.5, 0.6]}", "camera: {near: {a: 1}}", "b.yaml: .*near"),
        ("pose: {shares: {fist: 1}}", "pose: {shares: {fist: 0}}", "b.yaml: .*shares"),
    ],
)
def test_of_several_configurations_the_wrong_one_is_named(tmp_path, first, second, wrong):
    (tmp_path / "a.yaml").write_text(first)
    (tmp_path / "b.yaml").write_text(second)
    with pytest.raises(ValueError, match=wrong):
        load_config(tmp_path / "a.yaml", tmp_path / "b.yaml")

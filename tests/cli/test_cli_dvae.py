"""From rendered groups to images by factors: both stages of Ch. 4, through the commands."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from auxhand.cli.main import main
from auxhand.data.crops import evaluation_crop
from auxhand.data.store import PreparedDataset
from auxhand.geometry.canonical import canonical_pose
from auxhand.inference.bundle import load_bundle
from auxhand.inference.latent import LatentSpace

CONFIGS = Path(__file__).parents[2] / "configs" / "laptop"
SMALL = [
    *("trainer.max_epochs=1", "trainer.precision=32", "trainer.enable_progress_bar=false"),
    *("trainer.accelerator=cpu", "trainer.log_every_n_steps=1"),
    "model.init_args.networks={backbone: test_resnet, dimensions: 4, width: 8, layers: 2, "
    "cells: 8, map_width: 4}",
    *("data.init_args.val_count=4", "data.init_args.batch_size=4", "data.init_args.workers=0"),
    "data.init_args.images_per_epoch=8",
]


def train(config, folder, data, *settings):
    """Both stages of one configuration; the bundle of the second."""
    common = ["--set", *SMALL, f"data.init_args.train={data}", *settings]
    first, second = folder / "first", folder / "second"
    assert main(["train", str(config), *common, f"trainer.default_root_dir={first}"]) == 0
    embed = ["model.init_args.stage=embed", f"start_from={first}"]
    stage = [*embed, f"trainer.default_root_dir={second}"]
    assert main(["train", str(config), *common, *stage]) == 0
    return second / "bundle"


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """Twelve hands, two of each content."""
    root = tmp_path_factory.mktemp("dvae") / "groups"
    vary = ["--vary", "pose", "wrist", "view", "--each", "2"]
    options = ["--count", "12", "--size", "64", "--workers", "1", "--no-cutouts", *vary]
    assert main(["synth", str(root), *options]) == 0
    return root


@pytest.fixture(scope="module")
def by_content(tmp_path_factory, groups):
    folder = tmp_path_factory.mktemp("synthesis")
    return train(CONFIGS / "dvae_synthesis.yaml", folder, groups)


@pytest.fixture(scope="module")
def by_viewpoint(tmp_path_factory, groups):
    return train(CONFIGS / "dvae.yaml", tmp_path_factory.mktemp("pose"), groups)


def numbers(folder):
    return dict(np.load(folder / "hands.npz"))


def test_content_is_learnt_from_tag_images(groups, tmp_path, capsys, hand_dataset):
    """Without them there is nothing to train the variant on."""
    folder = tmp_path / "run"
    settings = [
        *SMALL,
        f"data.init_args.train={hand_dataset}",
        f"trainer.default_root_dir={folder}",
    ]
    assert main(["train", str(CONFIGS / "dvae_synthesis.yaml"), "--set", *settings]) == 2
    assert "tag image" in capsys.readouterr().err


def test_a_walk_moves_one_factor_after_the_other(by_content, groups, tmp_path):
    out = tmp_path / "walk"
    given = ["--data", str(groups), "--model", str(by_content), "--steps", "3", "--out", str(out)]
    assert main(["synthesize", "walk", "0", "5", *given]) == 0
    made = numbers(out)
    assert made["z"].shape == (2, 2, 3, 8)  # factor, all else of the first or second, step
    assert made["xyz_m"].shape == (2, 2, 3, 21, 3)
    assert made["image"].shape == (2, 2, 3, 8, 8, 3)
    # Ends are the codes of the asked pose and the asked content (Fig. 4.3).
    bundle = load_bundle(by_content)
    dataset, net = PreparedDataset(groups), bundle.network.eval()
    hands = [evaluation_crop(dataset[i], bundle.input_size, bundle.crop) for i in (0, 5)]
    with torch.no_grad():
        content = net.specify("content", torch.stack([hand.image for hand in hands])).mu
    pose, rest = made["z"][0], made["z"][1]
    for step in range(3):
        assert_close(torch.from_numpy(pose[:, step, 4:]), content)
    assert_close(torch.from_numpy(rest[0, [0, 2], 4:]), content)
    np.testing.assert_allclose(pose[0, :, :4], pose[1, :, :4], atol=1e-6)
    np.testing.assert_array_equal(rest[0, :, :4], rest[0, [0, 0, 0], :4])
    # The pose is decoded from its own factor alone.
    np.testing.assert_allclose(made["xyz_m"][1, 0, 0], made["xyz_m"][1, 0, 2], atol=1e-6)
    # Two rows of images and one of poses for each factor, between the given hands.
    assert cv2.imread(str(out / "hands.png")).shape[1] == 5 * 196 + 4
    with Image.open(out / "hands.gif") as moving:
        assert moving.n_frames == 6
        assert moving.size[0] > 2 * moving.size[1]


def test_poses_are_transferred_to_other_contents(by_content, groups, tmp_path):
    out = tmp_path / "transfer"
    hands = ["--pose", "1", "2", "--content", "4", "6", "8", "--data", str(groups)]
    assert (
        main(["synthesize", "transfer", *hands, "--model", str(by_content), "--out", str(out)]) == 0
    )
    made = numbers(out)
    assert made["z"].shape == (2, 3, 8)
    np.testing.assert_array_equal(made["z"][:, 0, :4], made["z"][:, 2, :4])
    np.testing.assert_array_equal(made["z"][0, :, 4:], made["z"][1, :, 4:])
    assert (made["z"][0, 0, :4] != made["z"][1, 0, :4]).any()
    assert made["image"].shape == (2, 3, 8, 8, 3)
    assert not (out / "hands.gif").exists()


def test_photos_are_given_where_the_hand_is_found(by_content, tmp_path, monkeypatch):
    """The pose of a photo, which is not told, is that of q(z | image)."""
    photos = [tmp_path / f"{name}.png" for name in "ab"]
    for number, path in enumerate(photos):
        cv2.imwrite(str(path), np.full((40, 40, 3), 90 * number, np.uint8))
    crops = iter(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    kept = []
    monkeypatch.setattr(LatentSpace, "crop", lambda *_: kept.append(next(crops)) or kept[-1])
    given = [*map(str, photos), "--model", str(by_content), "--out", str(tmp_path / "out")]
    assert main(["synthesize", "walk", *given, "--steps", "2"]) == 0
    with torch.no_grad():
        coded = load_bundle(by_content).network.eval().encode(torch.stack(kept))
    assert_close(torch.from_numpy(numbers(tmp_path / "out")["z"][0, 0, :, :4]), coded[:, :4])


def test_hands_at_random_have_images_and_poses(by_content, tmp_path):
    command = ["synthesize", "sample", "--count", "10", "--model", str(by_content)]
    assert main([*command, "--out", str(tmp_path)]) == 0
    made = numbers(tmp_path)
    assert made["z"].shape == (10, 8)
    assert made["image"].shape == (10, 8, 8, 3)
    assert made["xyz_m"].shape == (10, 21, 3)


def test_true_poses_are_compared_with_predicted_ones(by_viewpoint, groups, tmp_path):
    given = ["--data", str(groups), "--model", str(by_viewpoint), "--out", str(tmp_path)]
    assert main(["synthesize", "compare", "0", "3", *given]) == 0
    made = numbers(tmp_path)
    bundle, dataset = load_bundle(by_viewpoint), PreparedDataset(groups)
    hands = [evaluation_crop(dataset[i], bundle.input_size, bundle.crop) for i in (0, 3)]
    true, _ = canonical_pose(torch.stack([hand.joints_xyz for hand in hands]))
    size = np.linalg.norm(made["canonical_true_m"][0, 10] - made["canonical_true_m"][0, 9])
    np.testing.assert_allclose(made["canonical_true_m"] / size, true.numpy(), atol=1e-4)
    with torch.no_grad():
        said = bundle.network.eval()(torch.stack([hand.image for hand in hands]))
    np.testing.assert_allclose(made["canonical_m"] / size, said.canonical.numpy(), atol=1e-4)
    picture = cv2.imread(str(tmp_path / "hands.png"))
    assert picture.shape[1] == 6 * 196 + 4


def test_a_walk_without_images_shows_poses(by_viewpoint, groups, tmp_path):
    given = ["--data", str(groups), "--model", str(by_viewpoint), "--out", str(tmp_path)]
    assert main(["synthesize", "walk", "0", "3", *given, "--steps", "2"]) == 0
    assert "image" not in numbers(tmp_path)
    assert cv2.imread(str(tmp_path / "hands.png")).shape[1] == 4 * 196 + 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["walk", "0", "99"], "'99' is no sample of"),
        (["walk", "0", "a.jpg"], "which has 0 to 11"),
        (["walk", "0", "1", "--steps", "1"], "two ends"),
        (["compare", "0"], "says nothing of canonical poses"),
    ],
)
def test_what_cannot_be_asked_for_costs_one_line(
    arguments, message, by_content, groups, tmp_path, capsys
):
    given = ["--data", str(groups), "--model", str(by_content), "--out", str(tmp_path / "out")]
    assert main(["synthesize", *arguments, *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_true_poses_are_asked_for(by_content, capsys):
    assert main(["synthesize", "compare", "0", "--model", str(by_content)]) == 2
    assert "--data" in capsys.readouterr().err

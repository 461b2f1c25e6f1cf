"""The table of chapter 4: what its rows train on, and what its figures are."""

from functools import partial

import dvae
import dvae_figures
import frame
import pytest
import torch
import yaml
from scripts import call, rows

from auxhand.data.crops import CropRule
from auxhand.data.store import PreparedDataset, shard_path, write_description, write_shard
from auxhand.geometry.pose25d import relative
from auxhand.inference.bundle import Bundle
from auxhand.losses.supervision import true_canonical, true_viewpoint
from auxhand.methods.dvae import Networks
from auxhand.methods.dvae.variant import VARIANTS
from auxhand.sample import HandPose

SMALL = Networks(backbone="test_resnet", dimensions=4, width=8, layers=2, cells=16, map_width=4)


def bundle(variant):
    torch.manual_seed(0)
    network = VARIANTS[variant].network(SMALL).eval().requires_grad_(False)
    return Bundle(network, 32, CropRule("mask", 0.8))


@pytest.fixture(scope="module")
def data(tmp_path_factory, hand_row):
    """A folder of all four sets, in which samples 2 i and 2 i + 1 stand for one content."""
    root = tmp_path_factory.mktemp("domains")
    made = [{**hand_row(i, 64, "right", rgba=False), "content": f"{i // 2}"} for i in range(6)]
    write_shard(shard_path(root, 0), made)
    write_description(root, len(made))
    for name in ("source", "source-test", "groups", "groups-test"):
        (root / name).symlink_to(root)
    return root


@pytest.mark.parametrize("percent", [5, 50])
def test_semi_and_weak_rows_know_something_of_the_rest(percent):
    count = 190 * percent
    alone = {"labelled": {"roots": "source", "count": count}}
    rest = {"roots": "source", "start": count}
    told = {**rest, "use": "weak", "told": ["K", "side", "mask", "joints_xyz"]}
    found = {
        kind: [yaml.safe_load(text) for text in dvae.streams(kind, percent, "source")]
        for kind in ("", "semi", "weak")
    }
    assert found[""] == [alone, alone]
    assert found["semi"] == [{**alone, "unpaired": rest}, alone]
    assert found["weak"] == [alone, {**alone, "weak": told}]


def test_rows_are_trained_in_two_stages(monkeypatch, data, tmp_path):
    asked = []

    def train(config, folder, seed, settings=(), restart=False):
        assert config.is_file()
        asked.append((config.stem, folder.name, dict(each.split("=", 1) for each in settings)))
        return folder

    monkeypatch.setattr(dvae, "train", train)
    monkeypatch.setattr(dvae, "load_bundle", lambda folder: bundle("pose"))
    names = ["dVAE", "dVAE weak 10%", "S1 R2P"]
    out = tmp_path / "dvae.json"
    call(monkeypatch, dvae, "--only", *names, "--data", data, "--out", out, "--runs", tmp_path)
    assert [name for _, name, _ in asked] == [
        *("dVAE_0_disentangle", "dVAE_0_embed", "S1_R2P_0"),
        *("dVAE_10_0_disentangle", "dVAE_weak_10_0_embed"),
    ]
    first, second, other, _, weak = (settings for *_, settings in asked)
    images = "data.init_args.images_per_epoch"
    assert second["start_from"].endswith("dVAE_0_disentangle")
    assert [first[images], other[images]] == ["12032", "6016"]
    assert [first.get("data.init_args.batch_size"), second[images]] == ["128", "6016"]
    assert int(weak[images]) == 2 * (dvae.THIRD // 16)
    own = yaml.safe_load(dvae.POSES.read_text())["data"]["init_args"]
    assert yaml.safe_load(other["data.init_args.phases"]) == own["phases"]
    half = [settings.get("trainer.precision") for settings in (first, second, other)]
    assert half == [None, "bf16-mixed", "bf16-mixed"]
    metrics = rows(out)["dVAE"]["metrics"]
    assert {"epe_mm", "auc_20_50", "canonical_epe_mm", "viewpoint_deg", "consistency_mm"} <= {
        *metrics
    }
    assert (tmp_path / "dvae" / "pck_dVAE.csv").is_file()

    call(monkeypatch, dvae_figures, "--results", out, "--out", tmp_path)
    for name in ("dvae_pck.png", "dvae_shares.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


def test_shares_are_of_the_rows_of_one_kind():
    epe = {"dVAE 5%": 4.0, "dVAE weak 5%": 3.0, "dVAE 100%": 1.0, "dVAE": 0.0}
    assert dvae_figures.by_share("", epe) == [(5, 4.0), (100, 1.0)]
    assert dvae_figures.by_share("weak", epe) == [(5, 3.0), (100, 1.0)]
    assert dvae_figures.by_share("semi", epe) == [(100, 1.0)]


def test_a_true_pose_has_no_error_and_a_turned_one_its_angle(data, monkeypatch):
    angle = torch.tensor(0.2)
    turn = torch.eye(3)
    turn[:2, :2] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)

    def predict(batch, R):
        canonical, _ = true_canonical(batch)
        viewpoint, _ = true_viewpoint(batch)
        return HandPose(
            xyz=relative(batch.joints_xyz), canonical=canonical, viewpoint=viewpoint @ R
        )

    test, seen = PreparedDataset(data / "source-test"), bundle("pose")
    for R, degrees in ((torch.eye(3), 0.0), (turn, 11.459)):
        object.__setattr__(seen, "predict", partial(predict, R=R))
        found = dvae.pose_metrics(seen, test, None)
        assert found["canonical_epe_mm"] == pytest.approx(0, abs=1e-3)
        assert found["epe_mm"] == pytest.approx(0, abs=1e-3)
        for name in ("viewpoint_deg", "consistency_deg"):
            assert found[name] == pytest.approx(degrees, abs=0.1)
        assert (found["consistency_mm"] > 1) == (degrees > 0)


def test_baselines_are_what_they_say(data):
    test, reader = PreparedDataset(data / "groups-test"), bundle("pose")
    found = {
        name: dvae.image_metrics(
            partial(dvae.baseline, name, test, reader, 16), test, reader, reader, 16
        )
        for name in dvae.BASELINES
    }
    assert found["render"]["psnr_db"] == 100
    assert found["render"]["ssim"] == pytest.approx(1)
    assert found["tag image"]["content_moves"] == found["mean image"]["content_moves"] == 0
    assert found["mean image"]["pose_moves_mm"] == 0
    assert found["tag image"]["pose_moves_mm"] > 0
    # The asked pictures are among those that are looked through.
    assert found["nearest pose"]["psnr_db"] == 100
    assert found["mean image"]["psnr_db"] < 40


@pytest.mark.parametrize("variant", ["synthesis", "untagged"])
def test_images_of_a_network_are_measured(data, variant):
    test, reader = PreparedDataset(data / "groups-test"), bundle("pose")
    net = bundle(variant).network
    found = dvae.image_metrics(partial(dvae.by_network, net), test, reader, reader, 16)
    assert set(found) == {
        *("psnr_db", "ssim", "reader_epe_mm", "decoder_epe_mm", "pose_moves_mm", "content_moves")
    }
    (hands,) = dvae.asked(test, reader)
    made = dvae.by_network(net, hands)
    alone = net.reconstruct("pose", net.join({"pose": net.specify("pose", hands.pose).mu}))
    if variant == "synthesis":
        torch.testing.assert_close(made.pose, alone - alone[:, 9:10])
    assert (made.asked != made.own_pose).any()
    assert (made.asked != made.other_content).any()


@pytest.mark.slow
def test_a_miniature_of_the_table(monkeypatch, data, tmp_path):
    """Both stages of poses and of images are trained in one step each, and measured."""

    def train(config, folder, seed, settings=(), restart=False):
        tiny = ["model.init_args.networks.backbone=test_resnet", "trainer.max_epochs=1"]
        tiny += ["data.init_args.images_per_epoch=4", "data.init_args.val_count=2"]
        tiny += ["data.init_args.batch_size=2", "trainer.enable_progress_bar=false"]
        return frame.train(config, folder, seed, [*settings, *tiny], restart)

    monkeypatch.setattr(dvae, "train", train)
    monkeypatch.setattr(dvae, "SAMPLES", 4)
    names, out = ["dVAE weak 50%", "synthesis"], tmp_path / "dvae.json"
    folders = ["--data", data, "--out", out, "--runs", tmp_path / "runs"]
    call(monkeypatch, dvae, "--only", *names, *folders)
    poses, images = (rows(out)[name]["metrics"] for name in names)
    assert {"epe_mm", "canonical_epe_mm", "viewpoint_deg"} <= {*poses}
    assert {"psnr_db", "ssim", "reader_epe_mm", "decoder_epe_mm", "content_moves"} <= {*images}
    made = {path.name for path in (tmp_path / "runs").iterdir()}
    assert made == {
        *("dVAE_50_0_disentangle", "dVAE_weak_50_0_embed"),
        *("synthesis_0_disentangle", "synthesis_0_embed", "S1_R2P_0"),
    }

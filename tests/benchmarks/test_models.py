"""Tables whose rows are models, on photos whose answers are known."""

import csv
import json
from types import SimpleNamespace

import cv2
import default_model
import numpy as np
import pytest
import real_hands
import real_photos
import search
import torch
from scripts import Estimator, call, hand, rows

from auxhand.data.store import PreparedDataset
from auxhand.geometry.crop import box_center_side
from auxhand.inference.bundle import save_bundle
from auxhand.inference.prediction import FLESH
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet

PHOTO = (64, 64)


def write_photo(path, value):
    """A grey photo, by whose value `Estimator` knows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*PHOTO, 3), value, np.uint8))


def landmarks(uv, side="right"):
    """An entry of mediapipe_reference.json."""
    return {"landmarks_px": np.pad(uv, ((0, 0), (0, 1))).tolist(), "handedness": side}


# ---- default_model ----


def test_default_model(monkeypatch, tmp_path, hand_dataset, capsys):
    torch.manual_seed(0)
    network = PoseNet(FeaturePyramid("test_resnet", 8), Latent25D(), presence=True)
    save_bundle(tmp_path / "bundle", network, 32, {})
    out = tmp_path / "default_model.json"
    data = ["--data", hand_dataset, "--train", hand_dataset, "--mean-of", "4", "--out", out]
    call(monkeypatch, default_model, tmp_path / "bundle", *data)
    found = rows(out)
    assert list(found) == [str(tmp_path / "bundle"), "mean pose", "true 2D, mean depth"]
    epe = [row["metrics"]["epe_mm"][0] for row in found.values()]
    assert epe[2] < epe[1] < epe[0], "true pixels help, and random weights know nothing"
    command = found["mean pose"]["command"]
    assert command.endswith(f"--data {hand_dataset} --train {hand_dataset} --mean-of 4")
    capsys.readouterr()
    call(monkeypatch, default_model, tmp_path / "bundle", *data)
    assert capsys.readouterr().out.count("there already") == 3


# ---- real_hands ----


def test_shares_are_odd_or_even_rows_thinned():
    assert real_hands.share(range(10), "odd", 100) == [1, 3, 5, 7, 9]
    assert real_hands.share(range(10), "even", 2) == [0, 4]


def test_distances_are_in_longer_sides_of_the_box():
    uv = hand(width=20)
    np.testing.assert_allclose(real_hands.distances(hand(13, 24), uv), 0.25)
    assert np.isinf(real_hands.distances(None, uv)).all()


@pytest.fixture
def pool(tmp_path):
    """photos-pool and dataset-samples with a photo or two of everything; values tell them apart."""
    pool, uv = tmp_path / "photos-pool", hand()
    for name in (*real_hands.SETS, "no-hands"):
        files = [f"{i}.png" for i in range(4)]
        for i, file in enumerate(files):
            write_photo(pool / name / file, 100 + i if name == "no-hands" else i)
        with (pool / name / "index.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "x", "y", "w", "h"])
            writer.writerows([each, 10, 20, 20, 20] for each in files)
        side = {"1.png": "right", "3.png": "left"}
        text = json.dumps({"images": {f: landmarks(uv, s) for f, s in side.items()}})
        (pool / name / "mediapipe_reference.json").write_text(text)
    for i in range(6):
        write_photo(pool / "boxes" / f"{i}.png", 1)
    box = {f"{i}.png": {"boxes": [[10, 20, 20, 20] if i else [40, 40, 9, 9]]} for i in range(6)}
    (pool / "boxes" / "boxes.json").write_text(json.dumps(box))
    for name in ("freihand", "onehand10k"):
        folder = tmp_path / "dataset-samples" / name
        write_photo(folder / "a.png", 1)
        points = np.column_stack([uv, np.arange(21) > 0]).tolist()
        content = {
            "images": [{"id": 7, "file_name": "somewhere/a.png"}],
            "annotations": [{"image_id": 7, "keypoints": points}],
        }
        (folder / f"test_{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_real_hands(monkeypatch, pool, tmp_path, capsys):
    # Photo 1 is right; photo 3 is off by 1.5 px of a box of 20, and not found without a box.
    joints = {1: hand(), 3: hand(11.5), 101: None, 103: hand()}
    estimator = Estimator(joints)
    monkeypatch.setattr(real_hands.HandPoseEstimator, "load", lambda name: estimator)
    out = pool / "real_hands.json"
    call(monkeypatch, real_hands, "--photos", pool, "--out", out)
    values = {name: each[0] for name, each in rows(out)["default"]["metrics"].items()}
    assert values["images_seen"] == 640
    for name in real_hands.SETS:
        assert values[f"{name}_pck_05"] == 0.5
        assert values[f"{name}_pck_10"] == 1.0
        assert values[f"{name}_median_pct"] == pytest.approx(3.75)
        assert values[f"{name}_side"] == 0.5
    assert values["false_hands"] == 0.5
    assert values["missed"] == 0.5
    assert values["labelled_pck_10"] == 1.0
    assert ((10.0, 20.0, 20.0, 20.0), "left") in estimator.asked
    assert "missed" in capsys.readouterr().out


# ---- real_photos ----


def test_the_first_crop_is_as_large_as_it_should_be():
    estimator = Estimator({})
    x, y, w, h = real_photos.box_for(estimator, (10.0, 20.0, 30.0, 40.0), 1.45)
    assert (x + w / 2, y + h / 2) == pytest.approx((25, 40))
    _, side = box_center_side((x, y, w, h), 1 / (estimator.bundle.fraction * (1 + 2 * FLESH)))
    assert float(side) == pytest.approx(1.45 * 40)


def test_sign_digits(monkeypatch, tmp_path):
    images = {}
    for digit in range(10):
        write_photo(tmp_path / "images" / str(digit) / "a.png", digit)
        images[f"{digit}/a.png"] = landmarks(hand(), "right" if digit else "left")
    images["3/none.png"] = None  # the reference found no hand
    (tmp_path / "mediapipe_reference.json").write_text(json.dumps({"images": images}))
    off = {digit: hand(13.2 if digit == 9 else 10) for digit in range(10)}
    once = SimpleNamespace(uv_to_original=lambda uv: uv)
    pose = SimpleNamespace(uv=torch.from_numpy(hand())[None])
    monkeypatch.setattr(real_photos, "look_once", lambda *_: (pose, once))
    values = real_photos.sign_digits(Estimator(off), tmp_path)
    assert values["sign_pck_10"] == pytest.approx(0.9)
    assert values["sign_pck_10_mean"] == pytest.approx(0.9)
    assert values["sign_pck_10_9"] == 0
    assert values["sign_pck_10_0"] == values["sign_pck_10_once"] == 1
    assert values["sign_median_pct"] == 0
    assert values["sign_side"] == pytest.approx(0.9)


def test_silhouettes(monkeypatch, tmp_path):
    mask = np.zeros(PHOTO, np.uint8)
    mask[20:41, 10:21] = 255  # half of the joints' box
    for name, value in (("a", 1), ("b", 2)):
        write_photo(tmp_path / f"{name}.jpg", value)
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
        corners = "".join(
            f"<{k}>{v}</{k}>" for k, v in (("xmin", 10), ("ymin", 20), ("xmax", 30), ("ymax", 40))
        )
        (tmp_path / f"{name}.xml").write_text(f"<a><o><bndbox>{corners}</bndbox></o></a>")

    class Finder(Estimator):
        def predict(self, image, box=None, side="auto"):
            lost = box is None and image[0, 0, 0] > 1
            return None if lost else super().predict(image, box, side)

    estimator = Finder({1: hand(), 2: hand()})
    monkeypatch.setattr(
        real_photos, "look_once", lambda *_: (SimpleNamespace(mask=None), SimpleNamespace())
    )
    values = real_photos.silhouettes(estimator, tmp_path)
    assert values["in_mask"] == pytest.approx(11 / 21)
    assert values["box_found"] == values["hand_found"] == 0.5
    assert "mask_iou" not in values
    assert real_photos.iou((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert real_photos.empty(estimator, tmp_path) == {"false_hands": 1.0}


def test_a_model_that_cannot_find_is_refused(monkeypatch, tmp_path):
    estimator = Estimator({})
    estimator.finds = False
    monkeypatch.setattr(real_photos.HandPoseEstimator, "load", lambda name: estimator)
    out = tmp_path / "real_photos.json"
    with pytest.raises(SystemExit, match="cannot find hands"):
        call(monkeypatch, real_photos, "model", "--photos", tmp_path, "--out", out)
    with pytest.raises(SystemExit, match="say where they are"):
        call(monkeypatch, real_photos, "--photos", tmp_path / "no", "--out", out)
    assert not out.exists()


# ---- search ----


@pytest.fixture
def backgrounds(tmp_path):
    folder = tmp_path / "backgrounds"
    folder.mkdir()
    cv2.imwrite(str(folder / "wall.jpg"), np.full((300, 400, 3), 90, np.uint8))
    return folder


def test_scenes_know_where_their_hand_is(hand_dataset, backgrounds):
    data, photos = PreparedDataset(hand_dataset), sorted(backgrounds.glob("*.jpg"))
    scenes = list(search.scenes(data, photos, 3, seed=1))
    again = list(search.scenes(data, photos, 3, seed=1))
    other = next(search.scenes(data, photos, 1, seed=2))
    for scene, same in zip(scenes, again, strict=True):
        assert np.array_equal(scene.image, same.image)
        low, high = scene.joints_uv.min(0), scene.joints_uv.max(0)
        assert 0.22 <= (high - low).max() / search.HEIGHT <= 0.85
        assert (low > -1).all()
        assert (high < [search.WIDTH, search.HEIGHT]).all()
        drawn = np.abs(scene.image.astype(int) - 90).max(2) > 25
        u, v = scene.joints_uv.round().astype(int).T
        assert drawn[v, u].mean() > 0.9, "joints lie on what was pasted"
        outside = drawn.copy()
        x, y = np.floor(low).astype(int) - 60, np.ceil(high).astype(int) + 60
        outside[max(0, x[1]) : y[1], max(0, x[0]) : y[0]] = False
        assert not outside.any()
    assert not np.array_equal(other.joints_uv, scenes[0].joints_uv)


def test_search_counts_what_is_found(monkeypatch, hand_dataset, backgrounds, tmp_path):
    class Finder:
        """Finds every other hand, right ones as they are, and takes all for right ones."""

        def __init__(self, scenes):
            self.scenes = iter(scenes)
            self.count = 0

        def predict(self, image, box=None, side="right"):
            estimator = Estimator({int(image[0, 0, 0]): None})
            if box is None:
                self.scene = next(self.scenes)
                self.count += 1
                if self.count % 2:
                    return estimator.predict(image)
            estimator.joints = {int(image[0, 0, 0]): self.scene.joints_uv}
            return estimator.predict(image, side=side)

    data, photos = PreparedDataset(hand_dataset), sorted(backgrounds.glob("*.jpg"))
    scenes = list(search.scenes(data, photos, 4, seed=1))
    finder = Finder(scenes)
    monkeypatch.setattr(search.HandPoseEstimator, "load", lambda name: finder)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    out = tmp_path / "search.json"
    arguments = ["--data", hand_dataset, "--backgrounds", backgrounds, "--count", "4"]
    call(monkeypatch, search, "model", *arguments, "--seed", "1", "--out", out)
    row = rows(out)["model"]
    values = {name: each[0] for name, each in row["metrics"].items()}
    assert values["found"] == values["reported"] == 0.5
    assert values["given_box"] == 1.0
    assert values["side"] == np.mean([s.side == "right" for s in scenes[1::2]]) / 2
    assert row["seeds"] == [1]
    assert search.iou(hand(), hand(20)) == pytest.approx(1 / 3)
    with pytest.raises(SystemExit, match="no photos"):
        call(monkeypatch, search, "--data", hand_dataset, "--backgrounds", tmp_path / "no")

"""`auxhand predict` from the command line to the files it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from auxhand import viz
from auxhand.cli import photo, predict, results
from auxhand.cli.main import main
from auxhand.data.image import load_photo
from auxhand.geometry.camera import intrinsics_from_focal, project
from auxhand.geometry.crop import Crop
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference import bundle as bundle_module
from auxhand.inference import estimator
from auxhand.inference.bundle import save_bundle
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.prediction import FLESH, Prediction
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small network that has learnt nothing: presence is about one half anywhere."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "bundle"
    save_bundle(folder, PoseNet(FeaturePyramid("test_resnet", 8), Latent25D()), 32, {})
    return folder


@pytest.fixture
def photos(tmp_path):
    """Four good photos, of which two share a name, and three bad ones."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    noise.save(folder / "turned.jpg", exif=exif)
    noise.convert("L").save(folder / "grey.png")
    noise.save(folder / "more" / "grey.webp")
    Image.new("RGBA", (1, 1)).save(folder / "pixel.png")
    (folder / "text.jpg").write_text("not a photo")
    (folder / "cut.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:700])
    (folder / "notes.txt").write_text("ignored")
    return folder


def auxhand(*arguments):
    return main(["predict", *map(str, arguments)])


def test_a_folder_from_end_to_end(photos, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    assert auxhand(photos, tmp_path / "gone.jpg", "--out", out, "--model", bundle,
                   "--threshold", 0) == 1  # fmt: skip
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    assert len(errors) == 3
    assert all(line.startswith("auxhand predict: error: ") for line in errors)
    for name in ("gone.jpg", "text.jpg", "cut.jpg"):
        assert any(name in line for line in errors)
    assert "7 photos: 3 hands found, 1 without a hand, 3 failed" in captured.out
    assert f"results: {out} (overlays NAME_overlay.png, 3D views NAME_3d.png," in captured.out
    assert "pixel.png: no hand found" in captured.out
    written = {p.name for p in out.iterdir()}
    named = {"turned", "photos_grey", "more_grey"}
    assert written == {f"{n}{s}" for n in named for s in (".json", "_overlay.png", "_3d.png")} | {
        "pixel.json"
    }
    assert json.loads((out / "pixel.json").read_text())["hand"] is None
    for name in named:
        assert Image.open(out / f"{name}_3d.png").size == (1200, 480)
        assert max(Image.open(out / f"{name}_overlay.png").size) >= 512


def test_what_the_json_says(photos, bundle, tmp_path):
    out = tmp_path / "out"
    assert auxhand(photos / "turned.jpg", "--out", out, "--model", bundle, "--side", "left",
                   "--box", "5,8,30,40", "--focal", 70, "--hand-size", 0.05) == 0  # fmt: skip
    said = json.loads((out / "turned.json").read_text())
    assert (said["width_px"], said["height_px"]) == (60, 80)  # upright
    K = said["camera"]["K_px"]
    assert K == [[70, 0, 29.5], [0, 70, 39.5], [0, 0, 1]]
    assert "given" in said["camera"]["source"]
    hand = said["hand"]
    assert (hand["side"], hand["side_source"]) == ("left", "side given")
    assert (hand["hand_size_m"], hand["hand_size_source"]) == (0.05, "given")
    assert list(hand["joints"]) == list(JOINT_NAMES)
    joints = {
        key: np.array([joint[key] for joint in hand["joints"].values()])
        for key in ("uv_px", "relative_m", "camera_m", "confidence")
    }
    assert joints["uv_px"].shape == (21, 2)
    assert ((joints["confidence"] >= 0) & (joints["confidence"] <= 1)).all()
    root = list(JOINT_NAMES).index(hand["root_joint"])
    np.testing.assert_array_equal(joints["relative_m"][root], 0)
    relative = joints["camera_m"] - joints["camera_m"][root]
    np.testing.assert_allclose(joints["relative_m"], relative, atol=2e-5)
    projected = project(torch.tensor(K), torch.tensor(joints["camera_m"]).float()).numpy()
    np.testing.assert_allclose(projected, joints["uv_px"], atol=0.05)
    low, high = joints["uv_px"].min(0), joints["uv_px"].max(0)
    margin = FLESH * (high - low).max()
    box = [hand["box_px"][key] for key in ("x", "y", "width", "height")]
    np.testing.assert_allclose(box, [*(low - margin), *(high - low + 2 * margin)], atol=0.03)


class TwoHands:
    """An estimator that sees a left and a right hand in every photo, the right one less surely."""

    def __init__(self):
        fan = np.stack([np.linspace(0, 6, 21), np.linspace(8, 0, 21) ** 1.2], 1)
        self.hands = [
            self.hand("left", fan + 20, 0.9),
            self.hand("right", fan + np.array([40, 10]), 0.7),
        ]

    def hand(self, side, uv, presence):
        K = intrinsics_from_focal(70.0, 80, 60).double()
        xyz = np.concatenate([(uv - [39.5, 29.5]) * 0.4 / 70, np.full((21, 1), 0.4)], 1)
        return Prediction(
            joints_uv=uv,
            joints_relative=xyz - xyz[9],
            joints_xyz=xyz,
            confidence=None,
            presence=presence,
            side=side,
            side_scores={side: 0.8, "left" if side == "right" else "right": 0.2},
            mask=None,
            box=(0.0, 0.0, 30.0, 30.0),
            K=K.numpy(),
            hand_size=0.0448,
            crop=Crop(torch.eye(3).double(), (60, 80), torch.eye(3).double()),
            photo_size=(80, 60),
        )

    def predict(self, image, box, side, K, hand_size, threshold):
        return self.hands[0]

    def predict_hands(self, image, count, K, hand_size, threshold):
        return self.hands[:count]


@pytest.mark.parametrize(("asked", "count"), [([], 1), (["2"], 2), (["5"], 2), (["all"], 2)])
def test_several_hands_of_a_photo(photos, tmp_path, monkeypatch, capsys, asked, count):
    stand_in = TwoHands()
    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: stand_in)
    option = ["--hands", *asked] if asked else []
    assert auxhand(photos / "grey.png", "--out", tmp_path, *option) == 0
    out = capsys.readouterr().out
    assert f"1 photos: {count} hands found, 0 without a hand, 0 failed" in out
    assert "left hand (side estimated: score 0.20 as right, 0.80 as left), presence 0.90" in out
    assert ("; right hand" in out) == (count == 2)
    said = json.loads((tmp_path / "grey.json").read_text())
    # What reads one hand goes on reading the most certain one.
    assert said["hand"] == said["hands"][0]
    assert [hand["side"] for hand in said["hands"]] == ["left", "right"][:count]
    for hand, there in zip(said["hands"], stand_in.hands, strict=False):
        uv = [joint["uv_px"] for joint in hand["joints"].values()]
        np.testing.assert_allclose(uv, there.joints_uv, atol=0.005)
    assert Image.open(tmp_path / "grey_3d.png").size == (1200, 480 * count)
    # Each hand that is asked for is drawn where it is, and no other.
    image, scale = viz.for_viewing(load_photo(photos / "grey.png").pixels)
    drawn = np.asarray(Image.open(tmp_path / "grey_overlay.png").convert("RGB")) != image
    for number, there in enumerate(stand_in.hands):
        u, v = ((there.joints_uv.mean(0) + 0.5) * scale).astype(int)
        assert drawn[v - 20 : v + 20, u - 20 : u + 20].any() == (number < count)


def test_no_hands(photos, tmp_path, monkeypatch, capsys):
    stand_in = TwoHands()
    stand_in.hands = []
    monkeypatch.setattr(HandPoseEstimator, "load", lambda *arguments: stand_in)
    assert auxhand(photos / "grey.png", "--out", tmp_path, "--hands", "all") == 0
    assert "grey.png: no hand found" in capsys.readouterr().out
    said = json.loads((tmp_path / "grey.json").read_text())
    assert (said["hand"], said["hands"]) == (None, [])
    assert not list(tmp_path.glob("*_overlay.png"))


def test_large_photos_answer_in_their_own_pixels(bundle, tmp_path, monkeypatch):
    """A photo that is reduced while loading gives the joints of the same photo in full."""
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    small.resize((320, 240), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    small.save(tmp_path / "small.png")
    load = photo.load_photo
    monkeypatch.setattr(photo, "load_photo", lambda path: load(path, max_side=80))
    for name, box in (("large", "40,40,160,160"), ("small", "10,10,40,40")):
        assert auxhand(tmp_path / f"{name}.png", "--out", tmp_path, "--model", bundle,
                       "--box", box) == 0  # fmt: skip
    uv, focal, width = {}, {}, {}
    for name in ("large", "small"):
        said = json.loads((tmp_path / f"{name}.json").read_text())
        uv[name] = np.array([joint["uv_px"] for joint in said["hand"]["joints"].values()])
        focal[name] = said["camera"]["K_px"][0][0]
        width[name] = said["hand"]["box_px"]["width"]
    np.testing.assert_allclose(uv["large"], (uv["small"] + 0.5) * 4 - 0.5, atol=0.05)
    assert focal["large"] == pytest.approx(4 * focal["small"], abs=0.01)
    assert width["large"] == pytest.approx(4 * width["small"], abs=0.1)


def test_no_hand_removes_pictures_of_an_earlier_result(photos, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    for threshold, pictures in ((0, 2), (1, 0)):
        assert auxhand(photos / "grey.png", "--out", out, "--model", bundle,
                       "--threshold", threshold) == 0  # fmt: skip
        assert len(list(out.glob("*.png"))) == pictures
    assert "1 without a hand" in capsys.readouterr().out


def test_many_photos_load_the_model_once(bundle, tmp_path, monkeypatch, capsys):
    image = Image.new("RGB", (16, 16), "grey")
    for i in range(10):
        image.save(tmp_path / f"{i}.png")
    loads = []
    load = estimator.open_bundle
    monkeypatch.setattr(
        estimator, "open_bundle", lambda folder: loads.append(folder) or load(folder)
    )
    monkeypatch.setattr(photo, "write_results", lambda *arguments: None)
    assert auxhand(tmp_path / "*.png", "--out", tmp_path / "out", "--model", bundle,
                   "--box", "2,2,12,12", "--side", "left") == 0  # fmt: skip
    assert loads == [bundle]
    assert "10 photos: 10 hands found" in capsys.readouterr().out


def test_a_second_run_skips_the_first_ones_pictures(photos, bundle, tmp_path, capsys):
    for _ in range(2):
        assert auxhand(photos / "more", "--out", photos / "more", "--model", bundle,
                       "--threshold", 0) == 0  # fmt: skip
        assert "1 photos: 1 hands found" in capsys.readouterr().out


def test_drawings_of_another_folder_are_no_photos(photos, bundle, tmp_path, capsys):
    for out in (photos / "poses", tmp_path / "again"):
        assert auxhand(photos, "--out", out, "--model", bundle, "--threshold", 0) == 1
        assert "6 photos: " in capsys.readouterr().out


def test_names():
    paths = ["/p/a/x.jpg", "/p/b/X.png", "/p/b/y.jpg", "/p/c/z.png", "/p/c/z.jpg", "/q/c/z.jpg"]
    assert results.unique_names([Path(p) for p in paths]) == [
        *("a_x", "b_X", "y", "c_z", "c_z_jpg", "c_z_2"),
    ]


def test_each_photo_once(photos):
    found, _ = predict.find_photos([str(photos), str(photos / "grey.png")], photos / "out")
    assert [p.name for p in found] == [
        *("cut.jpg", "grey.png", "grey.webp", "pixel.png", "text.jpg", "turned.jpg"),
    ]


def test_the_videos_of_a_folder_are_found(photos):
    for name in ("clip.MP4", "out/clip_overlay.mp4"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"film")
    found, _ = predict.find_photos([str(photos)], photos / "out")
    assert [p.name for p in found if p.suffix.lower() == ".mp4"] == ["clip.MP4"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--box", "1,2,3"], "four numbers"),
        (["--box", "1,2,3,x"], "four numbers"),
        (["--box", "1,2,0,4"], "positive"),
        (["--fov", "180"], "--fov"),
        (["--fov", "60", "--focal", "500"], "not both"),
        (["--hand-size", "48"], "metres"),
        (["--hand-size", "1e-300"], "--hand-size must lie between 0.005 and 0.5 metres"),
        (["--fov", "179.9999"], "--fov must lie between 1 and 179"),
        (["--focal", "1e300"], "--focal must lie between 1 and 1000000"),
        (["--focal", "nan"], "--focal must lie between 1 and 1000000"),
        (["--threshold", "2"], "--threshold"),
        (["--side", "up"], "up"),
        (["--hands", "0"], "positive number of hands"),
        (["--hands", "both"], "positive number of hands"),
        (["--hands", "2", "--box", "1,2,3,4"], "--box is that of one hand"),
        (["--hands", "all", "--side", "left"], "--side is that of one hand"),
        (["--model", "nowhere"], "no bundle at nowhere"),
        (["--device", "tpu"], "device"),
    ],
)
def test_mistakes_cost_one_line(photos, bundle, capsys, tmp_path, arguments, says):
    model = [] if "--model" in arguments else ["--model", bundle]
    assert auxhand(photos, "--out", tmp_path / "out", *model, *arguments) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_to_read(bundle, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert auxhand(tmp_path / "empty", "--model", bundle) == 2
    assert "no JPEG, PNG, WebP, GIF or HEIC photos and no videos in" in capsys.readouterr().err
    (tmp_path / "a.jpg").write_text("text")
    assert auxhand(tmp_path / "a.jpg", "--out", tmp_path / "out", "--model", bundle) == 2
    assert "none of the 1 photos could be answered" in capsys.readouterr().err


def test_a_box_outside_costs_its_photo_only(photos, bundle, capsys, tmp_path):
    Image.new("RGB", (300, 300), "grey").save(photos / "wide.png")
    assert auxhand(photos / "grey.png", photos / "wide.png", "--out", tmp_path / "out",
                   "--model", bundle, "--box", "150,150,100,100") == 1  # fmt: skip
    captured = capsys.readouterr()
    assert "grey.png: the box 150,150,100,100 is not in the photo of 80 x 60" in captured.err
    assert "2 photos: 1 hands found, 0 without a hand, 1 failed" in captured.out


@pytest.mark.parametrize(
    ("box", "code"),
    [("79,59,9,9", 0), ("80,0,9,9", 2), ("0,60,9,9", 2), ("-8,-8,9,9", 0), ("-9,0,9,9", 2)],
)
def test_where_the_photo_ends(photos, bundle, tmp_path, box, code):
    assert auxhand(photos / "grey.png", "--out", tmp_path / "out", "--model", bundle,
                   f"--box={box}") == code  # fmt: skip


def test_the_shipped_model_has_a_name(tmp_path):
    shipped = bundle_module.shipped("")
    given = sorted((shipped / "photos").iterdir())[0]
    said = []
    for model in (["--model", "default"], ["--model", shipped / "default"], []):
        assert auxhand(given, "--out", tmp_path, *model) == 0
        said.append(json.loads((tmp_path / f"{given.stem}.json").read_text()))
    assert [each.pop("model") for each in said] == ["default", str(shipped / "default"), "default"]
    assert said[0] == said[1] == said[2]
    assert said[0]["hand"] is not None


def awkward(folder):
    """Photos with names that file systems have and programs stumble over; how many."""
    good = Image.new("RGB", (20, 20), "grey")
    names = [os.fsdecode(b"caf\xe9.png"), "a$b$.png", "new\nline.png", "-x.png"]
    names += ["n" * length + end + ".png" for length in (243, 250) for end in ("a",)]
    names += ["n" * 250 + "b.png"]
    folder.mkdir()
    for name in names:
        good.save(folder / name)
    return len(names)


def test_awkward_names_are_answered(bundle, tmp_path, capsys):
    count = awkward(tmp_path / "photos")
    out = tmp_path / "out"
    assert auxhand(tmp_path / "photos", "--out", out, "--model", bundle, "--threshold", 0) == 0
    assert f"{count} photos: {count} hands found" in capsys.readouterr().out
    assert len(list(out.glob("*.json"))) == count
    assert len(list(out.glob("*_overlay.png"))) == count
    said = json.loads((out / os.fsdecode(b"caf\xe9.json")).read_text())
    assert said["photo"].endswith("caf\\xe9.png")
    said = json.loads((out / "new\nline.json").read_text())
    assert said["photo"].endswith("new\\x0aline.png")


def test_what_cannot_be_looked_into_is_one_line_each(photos, bundle, tmp_path, capsys):
    for name, target in (("loop.jpg", "loop.jpg"), ("dead.jpg", "gone.jpg"), ("round", ".")):
        (photos / "more" / name).symlink_to(target)
    os.mkfifo(photos / "more" / "pipe.jpg")
    good = photos / "grey.png"
    arguments = [good, "x" * 300, "HTTPS://example.org/a.jpg", photos / "more"]
    out = tmp_path / "out"
    assert auxhand(*arguments, "--out", out, "--model", bundle, "--threshold", 0) == 1
    said = capsys.readouterr()
    assert "7 photos: 2 hands found, 0 without a hand, 5 failed" in said.out
    begin, more = "auxhand predict: error:", photos / "more"
    assert said.err.splitlines() == [
        f"{begin} HTTPS://example.org/a.jpg: an address; download the photo first",
        f"{begin} {'x' * 300}: File name too long",
        f"{begin} No such file: {more}/dead.jpg",
        f"{begin} {more}/loop.jpg: Too many levels of symbolic links",
        f"{begin} {more}/pipe.jpg: not a file",
    ]


def test_a_folder_that_cannot_be_listed_is_named(photos, tmp_path, monkeypatch):
    walk = os.walk

    def refuse(top, onerror, **options):
        onerror(PermissionError(13, "Permission denied", f"{top}/closed"))
        return walk(top, onerror=onerror, **options)

    monkeypatch.setattr(os, "walk", refuse)
    found, problems = predict.find_photos([str(photos)], tmp_path)
    assert len(found) == 6
    assert problems == [f"{photos}/closed: cannot be listed (Permission denied)"]


def test_files_that_are_no_results_are_not_overwritten(photos, bundle, tmp_path, capsys):
    mine = photos / "grey.json"
    mine.write_text('{"labels": 1}')
    (photos / "pixel_overlay.png").mkdir()
    arguments = (photos / "grey.png", photos / "pixel.png", photos / "turned.jpg")
    assert auxhand(*arguments, "--out", photos, "--model", bundle, "--threshold", 0) == 1
    said = capsys.readouterr()
    assert mine.read_text() == '{"labels": 1}'
    assert "grey.json is there and no result of an earlier run: name another --out" in said.err
    assert "pixel_overlay.png is there" in said.err
    assert (photos / "turned.json").is_file()
    assert not (photos / "grey_overlay.png").exists()


def test_a_photo_that_fails_keeps_no_older_result(photos, bundle, tmp_path):
    out = tmp_path / "out"
    given = (photos / "grey.png", photos / "turned.jpg", "--out", out, "--model", bundle,
             "--threshold", 0)  # fmt: skip
    assert auxhand(*given) == 0
    (photos / "grey.png").write_text("damaged")
    assert auxhand(*given) == 1
    assert sorted(p.name for p in out.iterdir()) == [
        *("turned.json", "turned_3d.png", "turned_overlay.png"),
    ]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()])
def test_results_are_written_together_or_not_at_all(
    photos, bundle, tmp_path, capsys, monkeypatch, error
):
    write = photo.write_result

    def fail(stem, suffix, data):
        if stem.name == "grey" and suffix == ".json":
            raise error
        write(stem, suffix, data)

    monkeypatch.setattr(photo, "write_result", fail)
    out = tmp_path / "out"
    assert auxhand(photos / "grey.png", photos / "turned.jpg", "--out", out, "--model", bundle,
                   "--threshold", 0) == 1  # fmt: skip
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "grey.png: " in said
    assert {p.name.split("_")[0].split(".")[0] for p in out.iterdir()} == {"turned"}


def test_a_box_that_begins_left_of_the_photo(photos, bundle, tmp_path):
    assert auxhand(photos / "grey.png", "--out", tmp_path / "out", "--model", bundle,
                   "--box", "-10,0,50,50") == 0  # fmt: skip


@pytest.mark.parametrize("end", ["head", "full"])
def test_work_goes_on_where_nobody_reads(photos, bundle, tmp_path, end):
    """`| head -1`, and a standard output without room."""
    out = tmp_path / "out"
    command = f"{sys.executable} -m auxhand.cli.main predict {photos / 'more'}"
    command += f" {photos / 'turned.jpg'} --model {bundle} --threshold 0 --out {out}"
    command += " | true" if end == "head" else " > /dev/full"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(list(out.glob("*.json"))) == 2

"""Networks of all methods in the files of other runtimes."""

import importlib.util
import json
from functools import cache

import numpy as np
import pytest
import torch

from auxhand.cli.main import main
from auxhand.data.crops import CropRule
from auxhand.hand.skeleton import JOINT_NAMES
from auxhand.inference import export as module
from auxhand.inference.bundle import Bundle, save_bundle
from auxhand.inference.estimator import HandPoseEstimator
from auxhand.inference.export import TOLERANCE, export
from auxhand.inference.runtime import OPSET, run_with_torch
from auxhand.models.backbone import ImageFeatures
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.dcgan import DCGANDecoder
from auxhand.models.disentangled import DisentangledNet
from auxhand.models.dual_branch import DualBranch
from auxhand.models.folding import FoldingDecoder
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.heads import Latent25D, Peak25D
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.models.mlp import PoseDecoder
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet
from auxhand.models.viewpoint import ViewpointDecoder

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnxruntime", "onnxscript"))),
    reason="needs auxhand[export]",
)


def opened(file):
    import onnxruntime

    return onnxruntime.InferenceSession(file)


def supervised():
    """As the shipped model: it says which side it sees."""
    return PoseNet(PoseResNet("test_resnet", width=8), Peak25D(), side=True)


def alignment():
    encoder = GaussianEncoder(ImageFeatures("test_resnet"), 6)
    heatmaps, cloud = DCGANDecoder(6, 21, 16, 4), FoldingDecoder(6, 16, 8)
    return LatentPoseNet(encoder, PoseDecoder(6, 16), heatmaps, cloud)


def dvae():
    decoders = {"pose": PoseDecoder(5, 8, 2), "canonical": PoseDecoder(3, 8, 2)}
    decoders["viewpoint"] = ViewpointDecoder(2, 8, 2)
    sizes = {"canonical": 3, "viewpoint": 2}
    image = {"image": GaussianEncoder(ImageFeatures("test_resnet"), 5)}
    decoded = {"pose": [*sizes], "canonical": ["canonical"], "viewpoint": ["viewpoint"]}
    return DisentangledNet(sizes, decoded, {}, image, decoders)


def semihand():
    return PoseNet(FeaturePyramid("test_resnet", width=8), Latent25D(), presence=False)


def dual_modality():
    return DualBranch("test_resnet", width=8).estimator()


def bundle(make, size=64):
    torch.manual_seed(0)
    rule = CropRule("mask", 0.65, "plain")
    return Bundle(make().eval(), size, rule, presence_threshold=0.4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """exported(make): (bundle, ONNX file) of a network, made once."""

    @cache
    def write(make):
        given, file = bundle(make), tmp_path_factory.mktemp("onnx") / "hand.onnx"
        assert export(given, "onnx", file) <= TOLERANCE
        assert [path.name for path in file.parent.iterdir()] == ["hand.onnx"]
        return given, file

    return write


SLOW = [
    pytest.param(make, marks=pytest.mark.slow)
    for make in (alignment, dvae, semihand, dual_modality)
]


# The finder's network is compared in `test_finder.py`.
@pytest.mark.parametrize("make", [supervised, *SLOW])
def test_onnx_says_what_pytorch_says(make, exported):
    given, file = exported(make)
    session = opened(file)
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape[1:]) == ("image", "tensor(float)", [3, 64, 64])
    assert isinstance(taken.shape[0], str)  # any number
    images = np.random.default_rng(9).random((5, 3, 64, 64), np.float32)
    expected = run_with_torch(given.network)(images)
    outputs = session.run(None, {"image": images})
    assert [output.name for output in session.get_outputs()] == list(expected)
    for value, same in zip(outputs, expected.values(), strict=True):
        np.testing.assert_allclose(value, same, atol=1e-3, rtol=1e-4)


def test_an_estimator_says_the_same_by_onnx_runtime(exported):
    given, file = exported(supervised)
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    here, there = (
        HandPoseEstimator(given, onnx=onnx).predict(image, (20, 10, 60, 60))
        for onnx in (None, file)
    )
    np.testing.assert_allclose(there.joints_uv, here.joints_uv, atol=1e-3)
    np.testing.assert_allclose(there.joints_xyz, here.joints_xyz, atol=1e-4)
    np.testing.assert_allclose(there.mask, here.mask, atol=1e-4)
    assert there.side == here.side


def test_the_file_says_how_it_is_used(exported):
    import onnx

    _, file = exported(supervised)
    told = opened(file).get_modelmeta().custom_metadata_map
    assert int(told["input_size"]) == 64
    assert tuple(json.loads(told["joint_names"])) == JOINT_NAMES
    assert (told["crop_by"], float(told["crop_fraction"])) == ("mask", 0.65)
    assert float(told["presence_threshold"]) == 0.4
    assert told["side"].startswith("right hands")
    assert b".py" not in file.read_bytes()  # no paths of the machine that wrote it
    assert "normalised inside" in told["image"]
    outputs = json.loads(told["outputs"])
    model = onnx.load(file)
    assert set(outputs) == {output.name for output in model.graph.output}
    assert "pixels" in outputs["uv"]
    assert "lengths of bone 9-10" in outputs["d"]
    assert int(told["opset"]) == OPSET
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [OPSET]


def test_another_result_is_no_file(tmp_path, monkeypatch):
    given = bundle(semihand)
    run = run_with_torch(given.network)
    monkeypatch.setattr(module, "write_onnx", lambda _, __, file, *___: file.write_bytes(b"ONNX"))
    monkeypatch.setattr(module, "run_with_onnx", lambda file: lambda images: {
        name: value + 0.01 for name, value in run(images).items()
    })  # fmt: skip
    with pytest.raises(ValueError, match="differs from PyTorch"):
        export(given, "onnx", tmp_path / "hand.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("make", [supervised, *SLOW])
def test_openvino_says_what_pytorch_says(tmp_path, make):
    openvino = pytest.importorskip("openvino")
    given, file = bundle(make), tmp_path / "hand.xml"
    assert export(given, "openvino", file) <= TOLERANCE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hand.bin", "hand.xml"]
    model = openvino.Core().read_model(file)
    assert int(model.get_rt_info(["auxhand", "input_size"]).value) == 64
    images = np.random.default_rng(9).random((2, 3, 64, 64), np.float32)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    outputs = openvino.Core().compile_model(model, "CPU", exact)(images)
    for name, value in run_with_torch(given.network)(images).items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-3, rtol=1e-4)


def test_the_command(tmp_path, capsys):
    save_bundle(tmp_path / "bundle", semihand(), 32, {})
    out = tmp_path / "new" / "hand.onnx"
    assert main(["export", str(tmp_path / "bundle"), "--out", str(out), "--batch", "2"]) == 0
    assert "hand.onnx: 2 pictures of 32 x 32; differs from PyTorch by" in capsys.readouterr().out
    assert opened(out).get_inputs()[0].shape == [2, 3, 32, 32]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere", "--out", "hand.onnx"], "no bundle at nowhere"),
        (["bundle"], "--out"),
        (["bundle", "--out", "hand.bin"], "a file of onnx ends in .onnx"),
        (["bundle", "--out", "hand.onnx", "--format", "openvino"], "a file of openvino ends in"),
        (["bundle", "--out", "hand.onnx", "--format", "tflite"], "tflite"),
        (["bundle", "--out", "hand.onnx", "--batch", "0"], "positive number of pictures"),
    ],
)
def test_mistakes_cost_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    save_bundle(tmp_path / "bundle", semihand(), 32, {})
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'auxhand\[export\]'"):
        export(bundle(semihand), "onnx", tmp_path / "hand.onnx")


def test_the_file_that_a_bundle_has_is_taken(tmp_path, monkeypatch, exported):
    given, made = exported(supervised)
    out = tmp_path / "hand.onnx"
    monkeypatch.setattr(module, "write_onnx", None)
    assert export(given, "onnx", out, beside=made) <= TOLERANCE
    told = opened(out).get_modelmeta().custom_metadata_map
    assert told == opened(made).get_modelmeta().custom_metadata_map
    # Of another network it is refused, and for one picture at a time it is not taken.
    other = bundle(supervised)
    for weight in other.network.requires_grad_(False).parameters():
        weight.mul_(2)
    with pytest.raises(ValueError, match="differs from PyTorch"):
        export(other, "onnx", tmp_path / "other.onnx", beside=made)
    with pytest.raises(TypeError):
        export(given, "onnx", out, 1, made)


def test_the_shipped_models_are_exported_without_the_exporter(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "write_onnx", None)
    assert main(["export", "finder", "--out", str(tmp_path / "finder.onnx")]) == 0

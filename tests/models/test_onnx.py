import pytest
import torch
from torch import nn

from auxhand.models.backbone import ImageFeatures
from auxhand.models.cpn import FeaturePyramid
from auxhand.models.dcgan import DCGANDecoder
from auxhand.models.folding import FoldingDecoder
from auxhand.models.gaussian import GaussianEncoder
from auxhand.models.heads import Latent25D
from auxhand.models.latent_pose import LatentPoseNet
from auxhand.models.mlp import PoseDecoder
from auxhand.models.pose_net import PoseNet


class AsTuple(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return tuple(value for _, value in self.network(image).items())


def pose_net():
    return PoseNet(FeaturePyramid("test_resnet", width=8), Latent25D())


def latent_pose_net():
    encoder = GaussianEncoder(ImageFeatures("test_resnet"), 6)
    heatmaps, cloud = DCGANDecoder(6, 21, 16, 4), FoldingDecoder(6, 16, 8)
    return LatentPoseNet(encoder, PoseDecoder(6, 16), heatmaps, cloud)


@pytest.mark.parametrize("make", [pose_net, latent_pose_net])
def test_networks_in_onnx_runtime_give_the_same_outputs(make, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = AsTuple(make()).eval()
    image = torch.rand(2, 3, 64, 64)
    program = torch.onnx.export(network, (image,), dynamo=True, verbose=False)
    program.save(tmp_path / "network.onnx")
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    outputs = session.run(None, {"image": image.numpy()})
    with torch.no_grad():
        expected = network(image)
    for value, same in zip(expected, outputs, strict=True):
        torch.testing.assert_close(value, torch.from_numpy(same), atol=1e-4, rtol=1e-4)

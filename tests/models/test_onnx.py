import pytest
import torch
from torch import nn

from auxhand.models.cpn import FeaturePyramid
from auxhand.models.heads import Latent25D
from auxhand.models.pose_net import PoseNet


class AsTuple(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return tuple(value for _, value in self.network(image).items())


def test_pose_net_in_onnx_runtime_gives_the_same_outputs(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network = AsTuple(PoseNet(FeaturePyramid("test_resnet", width=8), Latent25D())).eval()
    image = torch.rand(2, 3, 64, 64)
    program = torch.onnx.export(network, (image,), dynamo=True, verbose=False)
    program.save(tmp_path / "network.onnx")
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    outputs = session.run(None, {"image": image.numpy()})
    with torch.no_grad():
        expected = network(image)
    for value, same in zip(expected, outputs, strict=True):
        torch.testing.assert_close(value, torch.from_numpy(same), atol=1e-4, rtol=1e-4)

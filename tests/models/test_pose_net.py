import pytest
import torch
from torch import nn

from auxhand.models.cpn import CPN, FeaturePyramid
from auxhand.models.heads import (
    Coordinate,
    HandModel,
    Head,
    Heatmap,
    Integral,
    Latent25D,
    Lifting,
    Peak25D,
)
from auxhand.models.hourglass import StackedHourglass
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet


def pyramid():
    return FeaturePyramid("test_resnet", width=8)


@pytest.mark.parametrize(
    "head", [Latent25D, Peak25D, Integral, Heatmap, Coordinate, Lifting, HandModel]
)
@pytest.mark.parametrize(
    "body",
    [
        pyramid,
        lambda: CPN("test_resnet", width=8),
        lambda: PoseResNet("test_resnet", width=8),
        lambda: StackedHourglass(stacks=2, width=8, stride=2),
    ],
)
def test_every_body_goes_with_every_head(body, head):
    network = PoseNet(body(), head())
    poses = network.stages(torch.rand(2, 3, 96, 96))
    stride = network.body.stride
    assert len(poses) == network.body.stages
    for pose in poses:
        assert pose.uv.shape == (2, 21, 2)
        assert pose.mask.shape == (2, 96 // stride, 96 // stride)
        assert pose.presence.shape == (2,)
        assert (pose.mask > 0).all()
        assert (pose.mask < 1).all()
        assert (pose.presence > 0).all()
        assert (pose.presence < 1).all()
    trained = [v for pose in poses for _, v in pose.items() if v.requires_grad]
    sum(v.square().sum() for v in trained).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_forward_is_the_last_stage():
    network = PoseNet(CPN("test_resnet", width=8), Latent25D()).eval()
    image = torch.rand(1, 3, 64, 64)
    last = network.stages(image)[-1]
    for (_, value), (_, same) in zip(network(image).items(), last.items(), strict=True):
        assert torch.equal(value, same)


def test_stages_have_weights_of_their_own():
    network = PoseNet(CPN("test_resnet", width=8), Latent25D())
    first, second = (head.predict.weight for head in network.heads)
    assert not torch.equal(first, second)


def test_the_side_is_a_probability_of_its_own():
    image = torch.rand(3, 3, 64, 64)
    network = PoseNet(pyramid(), Integral(), side=True)
    with torch.no_grad():
        network.side.weight.zero_()
        network.side.bias.fill_(2.0)
    torch.testing.assert_close(network(image).left, torch.full((3,), 2.0).sigmoid())


def test_mask_and_presence_can_be_left_out():
    fields = dict(
        PoseNet(pyramid(), Integral(), mask=False, presence=False)(torch.rand(1, 3, 64, 64)).items()
    )
    assert set(fields) == {"uv", "confidence", "heatmaps"}


def test_the_image_is_normalised_inside():
    class Seen(Exception):
        pass

    class Spy(nn.Module):
        def forward(self, image):
            raise Seen(image)

    network = PoseNet(pyramid(), Integral())
    network.body.backbone.network = Spy()
    image = torch.full((1, 3, 64, 64), 0.5)
    with pytest.raises(Seen) as seen:
        network(image + 0.5)  # of mean and deviation 0.5, as timm states them for test_resnet
    torch.testing.assert_close(seen.value.args[0], torch.ones(1, 3, 64, 64))
    assert not {"mean", "std"} & set(network.state_dict())


def test_bfloat16_features_give_float32_poses_near_the_exact_ones():
    network = PoseNet(pyramid(), Latent25D()).eval()
    image = torch.rand(2, 3, 64, 64)
    exact = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(image)
    for name, value in mixed.items():
        assert value.dtype == torch.float32, name
    assert (mixed.uv - exact.uv).abs().max() < 1.0


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 64, 64), r"\(B, 3, H, W\)"),
        ((3, 64, 64), r"\(B, 3, H, W\)"),
        ((1, 3, 64, 72), r"divisible by 32, not \(64, 72\)"),
    ],
)
def test_other_images_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        PoseNet(pyramid(), Integral())(torch.rand(shape))


def test_a_head_of_ones_own_fits_in():
    class Nothing(Head):
        def connect(self, channels, context_channels):
            assert (channels, context_channels) == (8, 96)
            return self

        def decode(self, map, context, image_size):
            raise NotImplementedError

    with pytest.raises(ValueError, match="Nothing"):
        PoseNet(pyramid(), Nothing())  # not recorded, so a bundle could not hold it

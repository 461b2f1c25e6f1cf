import pytest
import torch

from auxhand.models.cpn import CPN, FeaturePyramid
from auxhand.models.hourglass import StackedHourglass
from auxhand.models.mlp import mlp
from auxhand.models.pose_resnet import PoseResNet

BODIES = {
    "pyramid": (lambda: FeaturePyramid("test_resnet", width=8), 4, 1),
    "cpn": (lambda: CPN("test_resnet", width=8), 4, 2),
    "resnet": (lambda: PoseResNet("test_resnet", width=8), 4, 1),
    "hourglass": (lambda: StackedHourglass(stacks=2, width=8), 1, 2),
    "hourglass, stride 2": (lambda: StackedHourglass(stacks=1, width=8, stride=2), 2, 1),
    "hourglass, stride 4": (lambda: StackedHourglass(stacks=3, width=8, depth=3, stride=4), 4, 3),
}


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
@pytest.mark.parametrize("name", BODIES)
def test_shapes_are_those_that_the_attributes_promise(name, size):
    make, stride, stages = BODIES[name]
    body = make()
    assert (body.stride, body.stages) == (stride, stages)
    assert all(side % body.multiple == 0 for side in size)
    features = body(torch.rand(2, 3, *size))
    expected = (2, body.channels, size[0] // stride, size[1] // stride)
    assert [tuple(m.shape) for m in features.maps] == [expected] * stages
    assert features.context.shape[:2] == (2, body.context_channels)
    assert features.context.shape[-1] < expected[-1]


@pytest.mark.parametrize("name", BODIES)
def test_gradients_reach_all_parameters(name):
    body = BODIES[name][0]()
    features = body(torch.rand(2, 3, 64, 64))
    sum(m.square().mean() for m in features.maps).backward()
    missed = [n for n, p in body.named_parameters() if p.grad is None]
    assert missed == []


@pytest.mark.parametrize("name", BODIES)
def test_a_cell_sees_the_pixels_around_it(name):
    torch.manual_seed(0)
    body = BODIES[name][0]().eval()
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    cell = (96 // body.stride, 40 // body.stride)
    body(image).maps[-1][..., cell[0], cell[1]].square().sum().backward()
    influence = image.grad.square().sum(dim=(0, 1))
    influence = influence / influence.sum()
    pixels = torch.arange(128.0)
    assert abs((influence.sum(1) * pixels).sum() - 96) < 12
    assert abs((influence.sum(0) * pixels).sum() - 40) < 12


def test_hourglass_refuses_other_strides_and_no_stacks():
    with pytest.raises(ValueError, match="stride"):
        StackedHourglass(stride=3)
    with pytest.raises(ValueError, match="hourglass"):
        StackedHourglass(stacks=0)


def test_perceptron():
    network = mlp(3, 5, 2)
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU", "Linear"]
    assert network(torch.rand(4, 7, 3)).shape == (4, 7, 2)
    with pytest.raises(ValueError, match="sizes"):
        mlp(3)

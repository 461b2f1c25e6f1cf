"""Depthwise convolutions of small maps as one matrix per channel, which a CPU trains faster.

oneDNN's gradient of such a convolution takes a time that hardly depends on the size of the map. A
batch of 64 maps of 4 x 4 cells with 672 channels and kernels of 5 x 5, forward and backward on one
core beside another training: 71 ms as a convolution, 14 ms as matrices (channels last).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with one channel per group: the same values, up to rounding, in less time.

    On a CPU that trains, maps of no more cells than the kernel has weights go through matrices. All
    else, and what is exported, is `nn.Conv2d`'s own.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self._trains_small_maps(input):
            return super().forward(input)
        images, channels, height, width = input.shape
        taps = _taps(height, width, self.kernel_size, self.stride, self.padding, self.dilation)
        rows, columns = taps.shape[1:]
        weight = functional.pad(self.weight.flatten(1), (1, 0))  # in front: no tap
        matrices = weight[:, taps.flatten()].view(channels, height * width, rows * columns)
        cells = input.flatten(2).transpose(0, 1).contiguous()  # else slow where channels come last
        output = torch.bmm(cells, matrices)
        if self.bias is not None:
            output = output + self.bias[:, None, None]
        return output.transpose(0, 1).reshape(images, channels, rows, columns)

    def _trains_small_maps(self, input: Tensor) -> bool:
        cells, taps = input.shape[-2] * input.shape[-1], self.weight[0].numel()
        return (
            torch.is_grad_enabled()
            and self.weight.requires_grad
            and input.device.type == "cpu"
            and cells <= taps
            and not torch.compiler.is_exporting()
        )


@cache
def _taps(
    height: int,
    width: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    dilation: tuple[int, ...],
) -> Tensor:
    """Which weight, from 1, joins a cell of the map with a cell of the result; 0: none.

    Returns:
        (height * width, rows, columns), integer.
    """
    numbers = torch.arange(1.0, 1 + kernel[0] * kernel[1]).view(1, 1, *kernel)
    cells = torch.eye(height * width).view(-1, 1, height, width)
    joined = functional.conv2d(cells, numbers, None, stride, padding, dilation)
    return joined[:, 0].round().long()


def with_fast_gradients(network: nn.Module) -> nn.Module:
    """Make depthwise convolutions of the network `DepthwiseConv2d`, in place; weights stay.

    Layers of a class of their own, which pad by the size of the image, stay as they are.
    """
    for module in network.modules():
        if type(module) is not nn.Conv2d or module.padding_mode != "zeros":
            continue
        if 1 < module.groups == module.in_channels == module.out_channels:
            module.__class__ = DepthwiseConv2d
    return network

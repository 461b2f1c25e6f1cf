"""Convolutions of small maps as matrix products, which a CPU trains faster.

oneDNN's gradient of such a convolution takes a time that hardly depends on the size of the map. On
one core, forward and backward: 64 maps of 4 x 4 cells with 672 channels and depthwise kernels of
5 x 5, 71 ms as a convolution, 14 ms as matrices (channels last); 32 maps of 2 x 2 cells from 512
channels to 512, 26 and 15 ms, in bfloat16 29 and 8 ms.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

FEW = 4
"""Cells of a map that `SmallMapConv2d` makes as a matrix product."""


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with one channel per group: the same values, up to rounding, in less time.

    On a CPU that trains, maps of no more cells than the kernel has weights go through matrices. All
    else, and what is exported, is `nn.Conv2d`'s own.
    """

    def forward(self, input: Tensor) -> Tensor:
        cells, weights = input.shape[-2] * input.shape[-1], self.weight[0].numel()
        if cells > weights or not _trains_on_a_cpu(self, input):
            return super().forward(input)
        images, channels, height, width = input.shape
        taps = _taps(height, width, self.kernel_size, self.stride, self.padding, self.dilation)
        rows, columns = taps.shape[1:]
        weight = functional.pad(self.weight.flatten(1), (1, 0))  # in front: no tap
        matrices = weight[:, taps.flatten()].view(channels, height * width, rows * columns)
        seen = input.flatten(2).transpose(0, 1).contiguous()  # else slow where channels come last
        output = torch.bmm(seen, matrices)
        if self.bias is not None:
            output = output + self.bias[:, None, None]
        return output.transpose(0, 1).reshape(images, channels, rows, columns)


class SmallMapConv2d(nn.Conv2d):
    """`nn.Conv2d` of one group, padded by numbers: the same values, up to rounding, in less time.

    On a CPU that trains, results of no more than `FEW` cells are one matrix product. All else, and
    what is exported, is `nn.Conv2d`'s own.
    """

    padding: tuple[int, ...]

    def forward(self, input: Tensor) -> Tensor:
        rows, columns = self._result(*input.shape[-2:])
        if rows * columns > FEW or not _trains_on_a_cpu(self, input):
            return super().forward(input)
        seen = functional.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)
        output = self.weight.flatten(1) @ seen
        if self.bias is not None:
            output = output + self.bias[:, None]
        return output.view(len(input), self.out_channels, rows, columns)

    def _result(self, *size: int) -> list[int]:
        """Rows and columns of the result from those of a map."""
        settings = zip(
            size, self.padding, self.dilation, self.kernel_size, self.stride, strict=True
        )
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in settings]


def _trains_on_a_cpu(layer: nn.Conv2d, input: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and layer.weight.requires_grad
        and input.device.type == "cpu"
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
    """Make convolutions of the network `DepthwiseConv2d` and `SmallMapConv2d`, in place; weights
    stay.

    Layers of a class of their own, which pad by the size of the image, stay as they are, and so do
    kernels of one weight.
    """
    for module in network.modules():
        if type(module) is not nn.Conv2d or module.padding_mode != "zeros":
            continue
        if 1 < module.groups == module.in_channels == module.out_channels:
            module.__class__ = DepthwiseConv2d
        elif (
            module.groups == 1
            and max(module.kernel_size) > 1
            and not isinstance(module.padding, str)
        ):
            module.__class__ = SmallMapConv2d
    return network

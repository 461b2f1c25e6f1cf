"""Stacked hourglass network (Newell et al. 2016; Ch. 2.2), the body of chapter 6."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from auxhand.models.backbone import Body, Features, Normalise, convolution
from auxhand.models.spec import recorded


class Residual(nn.Module):
    """Pre-activation bottleneck: 1x1 to half the channels, 3x3, 1x1, and a skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.layers = nn.Sequential(
            *(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.Conv2d(inputs, half, 1)),
            *(nn.BatchNorm2d(half), nn.ReLU(inplace=True), nn.Conv2d(half, half, 3, padding=1)),
            *(nn.BatchNorm2d(half), nn.ReLU(inplace=True), nn.Conv2d(half, outputs, 1)),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, map: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        out: Tensor = self.skip(map) + self.layers(map)
        return out


class Hourglass(nn.Module):
    """Down `depth` times by max pooling, up again by nearest neighbours, skips on every level."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.skips = nn.ModuleList(Residual(width, width) for _ in range(depth))
        self.down = nn.ModuleList(Residual(width, width) for _ in range(depth))
        self.bottom = Residual(width, width)
        self.up = nn.ModuleList(Residual(width, width) for _ in range(depth))

    def forward(self, map: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> the same shape, and the deepest map (B, C, h / 2^depth, w / 2^depth)."""
        kept = []
        for skip, down in zip(self.skips, self.down, strict=True):
            kept.append(skip(map))
            map = down(functional.max_pool2d(map, 2))
        deepest = map = self.bottom(map)
        for up in self.up:
            map = functional.interpolate(up(map), scale_factor=2.0, mode="nearest") + kept.pop()
        return map, deepest


@recorded
class StackedHourglass(Body):
    """Hourglasses in a row, each refining the features of the one before; one stage each.

    Newell et al. also feed each hourglass's predicted heatmaps into the next; here what is
    predicted is the head's business, and the features that it is predicted from are fed instead.

    Args:
        stacks: the number of hourglasses.
        width: channels, even (256 in the paper).
        depth: how often each hourglass halves the resolution.
        stride: of the stem and thus of the maps. 4 is the paper's; 1 keeps the full resolution,
            64x64 in and out in chapter 6; 2 costs a fifth of that.

    Raises:
        ValueError: another stride, or no stacks.
    """

    def __init__(self, stacks: int = 2, width: int = 128, depth: int = 4, stride: int = 1) -> None:
        super().__init__()
        self.normalise = Normalise()
        if stride not in (1, 2, 4):
            raise ValueError(f"the stem's stride must be 1, 2 or 4, not {stride}")
        if stacks < 1:
            raise ValueError(f"there must be at least one hourglass, not {stacks}")
        self.channels = self.context_channels = width
        self.stride = stride
        self.stages = stacks
        self.multiple = stride * 2**depth
        self.stem = nn.Sequential(
            convolution(3, width // 2, kernel=7, stride=min(stride, 2)),
            Residual(width // 2, width),
            nn.MaxPool2d(2) if stride == 4 else nn.Identity(),
            Residual(width, width),
        )
        self.hourglasses = nn.ModuleList(Hourglass(width, depth) for _ in range(stacks))
        self.features = nn.ModuleList(
            nn.Sequential(Residual(width, width), convolution(width, width, kernel=1))
            for _ in range(stacks)
        )
        self.feedback = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))

    def forward(self, image: Tensor) -> Features:
        """(B, 3, H, W) -> `stacks` maps (B, width, H / stride, W / stride), and as context the
        deepest map of the last hourglass."""
        state = self.stem(self.normalise(image))
        maps: list[Tensor] = []
        for stage, hourglass in enumerate(self.hourglasses):
            if stage > 0:
                state = state + self.feedback[stage - 1](maps[-1])
            map, context = hourglass(state)
            maps.append(self.features[stage](map))
        return Features(tuple(maps), context)

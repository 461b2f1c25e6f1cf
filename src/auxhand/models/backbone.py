"""Backbones: any timm classification network as a pyramid of feature maps, or as features.

Also what all bodies of a pose network have in common: `Body` and what it returns, `Features`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from auxhand.imports import without_dynamo
from auxhand.models.small_maps import with_fast_gradients
from auxhand.models.spec import recorded

with without_dynamo():
    import timm
from huggingface_hub import constants as hub_settings
from huggingface_hub import get_session
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import FeatureInfo, load_state_dict

STRIDES = (4, 8, 16, 32)
_PROBE_SECONDS = 5.0

# timm's report of layers that only the whole classification network has: here they are left out,
# always. A file that holds anything else is refused by `_check_names`.
logging.getLogger("timm.models._builder").addFilter(
    lambda record: not record.getMessage().startswith("Unexpected keys")
)


class Features(NamedTuple):
    """What a body makes of an image.

    Attributes:
        maps: one (B, C, h, w) per stage, all of one shape; the last is the best.
        context: (B, Cc, hc, wc), the deepest map: what the whole crop is about.
    """

    maps: tuple[Tensor, ...]
    context: Tensor


class Body(nn.Module):
    """A network from image to `Features`: forward(image (B, 3, H, W) in [0, 1]) -> Features.

    Attributes:
        channels: C of every map.
        context_channels: Cc of the context.
        stride: image pixels per cell of the maps.
        stages: the number of maps.
        multiple: H and W must be divisible by this.
    """

    channels: int
    context_channels: int
    stride: int
    stages: int
    multiple: int


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (up to its stride), batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Backbone(nn.Module):
    """Feature maps of a timm network at the strides asked for.

    RGB images in [0, 1] are normalised here, as timm states it for the network's weights; images
    of other than three channels are taken as they are.

    Args:
        name: a timm model, such as "resnet18" or "regnetx_002".
        pretrained: True for timm's ImageNet weights (from the network or timm's cache), or the
            path of a file with the network's weights (`tools/convert_pretrained.py` writes one);
            False for random ones.
        strides: image pixels per cell of the maps wanted, ascending.
        channels: of the image.
        folded: take the batch normalisations into the convolutions before them, see `fold`.

    Raises:
        ValueError: a name that timm does not have, or a network without maps at these strides.
        OSError: weights that are asked for but neither here nor within reach.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool | str = False,
        strides: Sequence[int] = STRIDES,
        channels: int = 3,
        folded: bool = False,
    ) -> None:
        super().__init__()
        self.network = _create(name, pretrained, channels)
        if folded:
            fold(self.network, channels)
        with_fast_gradients(self.network)
        self.normalise = _normalisation(self.network) if channels == 3 else nn.Identity()
        info: FeatureInfo = self.network.feature_info  # type: ignore[assignment]
        reductions = info.reduction()
        missing = [s for s in strides if s not in reductions]
        if missing:
            raise ValueError(
                f"backbone {name!r} has maps at strides {reductions}, not at {missing}: "
                "take a convolutional network such as resnet18"
            )
        # Where two maps share a stride, the later one has seen more layers.
        last = {stride: i for i, stride in enumerate(reductions)}
        self._chosen = [last[s] for s in strides]
        widths = info.channels()
        self.channels: tuple[int, ...] = tuple(widths[i] for i in self._chosen)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, channels, H, W) -> one (B, C, H / stride, W / stride) per stride."""
        maps = self.network(self.normalise(image))
        return [maps[i] for i in self._chosen]


def fold(network: nn.Module, channels: int = 3) -> None:
    """Take each batch normalisation that follows a convolution into that convolution, in place.

    Exact where statistics are kept: gamma (W x - mean) / s + beta = (gamma / s) W x + beta -
    gamma mean / s, with s the standard deviation. A pretrained network is trained on a third faster
    so, and cannot change its statistics. What timm applies after the normalisation stays.

    Args:
        network: convolutions and batch normalisations in any order.
        channels: of its images.
    """
    made: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    kept: list[Tensor] = []  # a tensor that is freed would lend its identity to another one

    def convolved(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = module
        kept.append(output)

    def normalised(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])], module))

    hooks = [
        module.register_forward_hook(convolved)
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(normalised)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, channels, 64, 64))
    network.train(training)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in network.named_modules()}
    for conv, norm in pairs:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
        network.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))


@recorded
class ImageFeatures(nn.Module):
    """An image (B, C, H, W) to features (B, F): a backbone's deepest map, averaged over the image.

    Args:
        backbone: a timm network.
        pretrained: see `Backbone`.
        channels: C; see `Backbone`.

    Attributes:
        features: F.
    """

    def __init__(
        self, backbone: str = "resnet18", pretrained: bool | str = False, channels: int = 3
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, pretrained, STRIDES[-1:], channels)
        self.features = self.backbone.channels[0]

    def forward(self, image: Tensor) -> Tensor:
        deepest: Tensor = self.backbone(image)[0]
        return deepest.mean(dim=(-2, -1))


class Normalise(nn.Module):
    """RGB (B, 3, H, W) in [0, 1] to (image - mean) / std, by channel; ImageNet's by default."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(value).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


def _normalisation(network: nn.Module) -> Normalise:
    """As the weights that timm knows for this network were trained with."""
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    return Normalise(config["mean"], config["std"])


def _create(name: str, pretrained: bool | str, channels: int) -> nn.Module:
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=5)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        raise ValueError(f"timm has no network {name!r}{hint}")
    if not pretrained:
        return timm.create_model(name, features_only=True, in_chans=channels)
    if isinstance(pretrained, str):
        return _from_file(name, pretrained, channels)
    try:
        with _no_waiting_for_the_network():
            return timm.create_model(name, features_only=True, pretrained=True, in_chans=channels)
    except OSError as error:
        raise OSError(
            f"no network for the pretrained weights of {name!r}, and they are not in the cache: "
            "set pretrained to false, or to the path of a file with these weights"
        ) from error
    except RuntimeError as error:  # timm: "No pretrained weights exist for ..."
        raise ValueError(f"backbone {name!r}: {error}") from error


def _from_file(name: str, path: str, channels: int) -> nn.Module:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path!r} with weights of {name!r}")
    overlay = {"file": path}
    try:
        _check_names(name, load_state_dict(path))
        return timm.create_model(
            name,
            features_only=True,
            pretrained=True,
            in_chans=channels,
            pretrained_cfg_overlay=overlay,
        )
    except Exception as error:  # whatever a reader makes of a file that is something else
        raise ValueError(f"{path!r} does not hold weights of {name!r}: {error}") from error


def _check_names(name: str, weights: dict[str, Tensor]) -> None:
    """Check that weights are those of a network: timm would leave a missing one at random.

    Raises:
        ValueError: one of the tensors that make feature maps is missing, or the whole network has
            no tensor of such a name.
    """
    with torch.device("meta"):  # for their names
        body, whole = (timm.create_model(name, features_only=only) for only in (True, False))
    # timm names stages "stages_0" in a network of feature maps, "stages.0" in the whole one.
    there, needed, known = (
        {key.replace(".", "_") for key in state}
        for state in (weights, body.state_dict(), whole.state_dict())
    )
    for what, names in (("lacks", needed - there), ("has also", there - known)):
        if names:
            raise ValueError(f"it {what} {min(names)} ({len(names)} such tensors)")


@contextmanager
def _no_waiting_for_the_network() -> Iterator[None]:
    """Without a network, look into the cache only: the hub's own retries take 47 s."""
    offline = hub_settings.HF_HUB_OFFLINE
    try:
        get_session().head(hub_settings.ENDPOINT, timeout=_PROBE_SECONDS)
    except Exception:  # of the HTTP library underneath, which changes between versions
        hub_settings.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub_settings.HF_HUB_OFFLINE = offline

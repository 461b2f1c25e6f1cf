"""What an adaptation starts from: a bundle, or a run of the dual-modality network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from auxhand.adaptation.plan import suitable
from auxhand.checkpoint import PARTS, read_checkpoint, unlike
from auxhand.inference.bundle import DEFAULT, DESCRIPTION, Bundle, bundle_folder, load_bundle
from auxhand.models.dual_branch import DualBranch
from auxhand.models.pose_net import PoseNet
from auxhand.models.pose_resnet import PoseResNet
from auxhand.models.spec import specification

NETWORK = "network."
"""What the names of a method's weights begin with, where they are its network's."""


class Start(NamedTuple):
    """Where it starts.

    Attributes:
        model: folder or name of the bundle that finds the hands, and says which they are: a
            dual-modality network does not, so that the shipped one does.
        bundle: whose network is adapted; of a run its RGB branch.
        checkpoint: of a run, the weights of all branches; None: the bundle is all there is.
    """

    model: str
    bundle: Bundle
    checkpoint: dict[str, Any] | None


def of_bundle(model: str) -> Start:
    """A bundle, for SemiHand.

    Args:
        model: its folder, or the name of a shipped one.

    Raises:
        FileNotFoundError, ValueError: see `load_bundle` and `suitable`.
    """
    bundle = load_bundle(bundle_folder(model))
    suitable(bundle.network)
    return Start(model, bundle, None)


def of_run(run: Path) -> Start:
    """A run of `auxhand.methods.dual_modality`, of either stage.

    Args:
        run: its folder, whose last checkpoint counts, or one of its checkpoints.

    Raises:
        FileNotFoundError: no run, or one that has not been trained to its end.
        ValueError: a bundle, a damaged checkpoint, or a run of another method.
    """
    from auxhand.training import LAST  # Lightning, which only this method needs so early

    if (run / DESCRIPTION).is_file():
        raise ValueError(
            f"{run} is a bundle, which has an RGB branch alone: --start takes the run that made it"
        )
    file = run / LAST if run.is_dir() else run
    if not file.is_file():
        raise FileNotFoundError(f"no run of the dual-modality network at {run}: {file} is missing")
    checkpoint = read_checkpoint(file)
    state = checkpoint["state_dict"]
    weights = {n.removeprefix(NETWORK): w for n, w in state.items() if n.startswith(NETWORK)}
    bundle = load_bundle(file.absolute().parent.parent / "bundle")
    network = bundle.network
    if not (isinstance(network, PoseNet) and isinstance(network.body, PoseResNet)) or not any(
        name.startswith("depth_encoder.") for name in weights
    ):
        problem = "its network has no depth branch"
    else:
        problem = unlike(weights, DualBranch(**branches_of(network)).state_dict())
    if problem:
        raise ValueError(
            f"{run} is no run of auxhand.methods.dual_modality ({problem}): --start takes one "
            "(docs/methods/dual_modality.md)"
        )
    rgb = {n.removeprefix("rgb."): w for n, w in weights.items() if n.startswith("rgb.")}
    network.load_state_dict(rgb)
    kept = {**{name: checkpoint[name] for name in PARTS}, "optimizer_states": []}
    return Start(DEFAULT, bundle, kept)


def branches_of(rgb: PoseNet) -> dict[str, Any]:
    """Arguments of the `DualBranch` whose RGB branch this is: both encoders are of one kind."""
    arguments: dict[str, Any] = specification(rgb)["arguments"]["body"]["arguments"]
    return arguments

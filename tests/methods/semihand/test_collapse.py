"""The collapse of Ch. 6.3.4, in small: consistency moves all joints to the centre, and it is said.

One labelled hand, which a network answers that says the same of all, and unlabelled ones that it is
merely to agree with itself about: under quarter turns it does so best in the middle, which no turn
moves. The network, random features and a linear layer, cannot turn its answer with the picture, so
nothing else is left to it.
"""

import warnings
from typing import NamedTuple

import pytest
import torch
from lightning import Trainer
from torch import nn
from two_streams import PLAIN, SIZE, write_target

from auxhand.data.crops import CropRule
from auxhand.data.module import HandDataModule
from auxhand.data.streams import Phase, Stream
from auxhand.data.strengths import Augmentation
from auxhand.methods.semihand.module import Objective, SemiHand
from auxhand.monitor import COLLAPSED_SPREAD, SPREAD, Monitor
from auxhand.optim import Schedule
from auxhand.sample import HandPose

CELLS, FEATURES = 8, 16
MIDDLE = (SIZE - 1) / 2
DIVERSE = Augmentation(smallest=0.75, largest=0.85, rotation=10.0)
CONSISTENCY = 100.0
"""lambda_c, a thousand times the chapter's, so that epochs show what hours do."""


class Features(nn.Module):
    """8 x 8 colours -> random features -> 21 joints, all as far away as the root, and a mask; the
    last step is learnt."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        random = torch.randn(3 * CELLS**2, FEATURES, generator=rng) / CELLS
        self.register_buffer("random", random)
        self.pose, self.mask = nn.Linear(FEATURES, 42), nn.Linear(FEATURES, CELLS**2)

    def features(self, image):
        pooled = nn.functional.adaptive_avg_pool2d(image, CELLS).flatten(1) - 0.5
        return (pooled @ self.random).relu()

    def forward(self, image):
        features = self.features(image)
        uv = self.pose(features).unflatten(1, (21, 2))
        mask = self.mask(features).sigmoid().unflatten(1, (CELLS, CELLS))
        return HandPose(uv=MIDDLE + 32 * uv, d=torch.zeros_like(uv[..., 0]), mask=mask)

    def stages(self, image):
        return [self(image)]

    @torch.no_grad()
    def solve(self, batches):
        """Answer these labelled crops exactly, as what was trained before."""
        image = torch.cat([batch.image for batch in batches])
        uv = torch.cat([(batch.joints_uv - MIDDLE) / 32 for batch in batches])
        features = self.features(image)
        features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
        found = torch.linalg.pinv(features) @ uv.flatten(1)
        self.pose.weight.copy_(found[:-1].T)
        self.pose.bias.copy_(found[-1])


class Course(NamedTuple):
    """spreads: val/spread before training and after each epoch; far: mean distance of joints from
    the crop's middle in pixels, before and after; said: the step of each warning of a collapse."""

    spreads: list[float]
    far: tuple[float, float]
    said: list[int]


class Watch(Monitor):
    """The monitor of every training; keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        self.seen.append(float(trainer.callback_metrics[SPREAD]))
        super().on_validation_end(trainer, pl_module)


@torch.no_grad()
def distance_from_the_middle(network, data):
    uv = torch.cat([network(batch.image).uv for batch in data.val_dataloader()])
    return float((uv - MIDDLE).norm(dim=-1).mean())


def train(one, others, objective):
    """Sixteen epochs from a network that is right about all hands."""
    torch.manual_seed(0)
    source = Stream(str(one), phases=[Phase(0, SIZE, augmentation=DIVERSE)])
    phases = [Phase(0, SIZE, augmentation=PLAIN, second=DIVERSE)]
    target = Stream(str(others), use="weak", told=["side"], views=2, phases=phases)
    data = HandDataModule(
        train={"source": source, "target": target},
        val=str(others),
        batch_size=4,
        images_per_epoch=160,
        workers=0,
        crop=CropRule("mask", 0.8, "plain"),
    )
    network = Features()
    network.solve(list(data.val_dataloader()))
    before, watch = distance_from_the_middle(network, data), Watch()
    trainer = Trainer(
        max_epochs=16,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedule = Schedule(drops=(0.7,))
        method = SemiHand(network, objective=objective, learning_rate=0.05, schedule=schedule)
        trainer.fit(method, data)
    told = [str(w.message) for w in caught if "predicted poses collapse to one" in str(w.message)]
    steps = [int(text.split(":")[0].removeprefix("step ")) for text in told]
    return Course(watch.seen, (before, distance_from_the_middle(network, data)), steps)


@pytest.fixture(scope="module")
def one_hand(hand_row, tmp_path_factory):
    return write_target(tmp_path_factory.mktemp("one") / "hand", [hand_row(0)], poisoned=False)


@pytest.mark.slow
def test_consistency_alone_collapses_and_the_monitor_says_so_while_it_happens(
    one_hand, hand_dataset
):
    objective = Objective(consistency=CONSISTENCY, cross_modal=False, pseudo_labels=False)
    course = train(one_hand, hand_dataset, objective)
    assert course.spreads[0] > 0.8  # 1 but for the depths
    assert course.spreads[-1] < COLLAPSED_SPREAD
    assert course.far[1] < 0.2 * course.far[0]
    collapsed = next(i for i, spread in enumerate(course.spreads) if spread < COLLAPSED_SPREAD)
    assert collapsed < 16
    assert course.said[0] == 20 * collapsed

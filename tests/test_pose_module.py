from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from auxhand.data.streams import Curriculum, Phase, Stream
from auxhand.data.strengths import Augmentation
from auxhand.optim import Schedule
from auxhand.pose_module import PoseModule
from auxhand.sample import HandPose

PLAIN = Phase(0, 32, augmentation=Augmentation())


class Mean(PoseModule):
    """Learns one number, the mean of what it is shown."""

    def __init__(self):
        super().__init__(0.5, Schedule(drops=(0.5,)))
        self.network = torch.nn.Linear(1, 1, bias=False)
        self.frozen = torch.nn.Linear(1, 1).requires_grad_(False)

    def estimator(self):
        return lambda image: HandPose(uv=self.network.weight * image)

    def training_step(self, batch, batch_idx):
        error = (self(torch.ones(1)).uv - batch[0]).square().mean()
        return self.logged(3 * error, {"error": error}, len(batch[0]))


def fitted(steps):
    module = Mean()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, enable_model_summary=False, limit_val_batches=0, **quiet
    )
    trainer.fit(module, DataLoader([torch.tensor([2.0])] * steps))
    return module, trainer


def test_the_loss_is_logged_with_its_terms():
    _, trainer = fitted(1)
    before = float(trainer.callback_metrics["train/error"])
    assert trainer.callback_metrics["train/loss"] == pytest.approx(3 * before)


def test_what_learns_is_stepped_with_the_schedule():
    module, trainer = fitted(4)
    (optimizer,) = trainer.optimizers
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]
    assert module.steps == 4
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def before_data(views, phases):
    """A module whose training reads streams of so many views, with these phases."""
    module = Mean()
    streams = {name: Stream("data", views=count) for name, count in views.items()}
    schedules = {name: Curriculum(own) for name, own in phases.items()}
    data = SimpleNamespace(streams=streams, schedules=schedules)
    module.trainer = SimpleNamespace(datamodule=data)
    return module


@pytest.mark.parametrize(
    ("streams", "right"),
    [
        ({"source": 1, "target": 2}, True),
        ({"source": 1, "target": 1}, False),
        ({"source": 2, "target": 2}, False),
        ({"source": 1}, False),
        ({"source": 1, "other": 2}, False),
    ],
)
def test_the_streams_of_a_method_that_adapts(streams, right):
    module = before_data(streams, {name: [PLAIN] for name in streams})
    if right:
        module.expect_source_and_target()
    else:
        with pytest.raises(ValueError, match="Mean takes two streams, source and target"):
            module.expect_source_and_target()


def test_crops_of_two_streams_have_one_size():
    phases = {"source": [Phase(0, 32)], "target": [PLAIN, replace(PLAIN, epoch=3, size=64)]}
    module = before_data({"source": 1, "target": 2}, phases)
    with pytest.raises(ValueError, match="from epoch 3 on crops of source have 32 pixels and of"):
        module.expect_source_and_target()


@pytest.mark.parametrize(
    ("first", "second", "right"),
    [
        ({}, {"rotation": 20.0, "smallest": 0.5, "any_rotation_share": 0.3}, True),
        ({"still_share": 1.0, "rotation": 20.0, "shift": 0.5}, {}, True),
        ({"rotation": 20.0}, {}, False),
        ({"upright_share": 0.5}, {}, False),
        ({"translation": 0.1}, {}, False),
        ({"smallest": 0.5}, {}, False),
        ({"still_share": 1.0, "misplaced_share": 0.1}, {}, False),
        ({}, {"absent_share": 0.1}, False),
        ({}, {"other_side_share": 0.1}, False),
    ],
)
def test_labels_are_found_in_one_crop_and_carried_into_another_of_the_hand(first, second, right):
    views = {"augmentation": Augmentation(**first), "second": Augmentation(**second)}
    phases = {"source": [Phase(0, 32)], "target": [Phase(0, 32, **views)]}
    module = before_data({"source": 1, "target": 2}, phases)
    if right:
        module.expect_source_and_target()
    else:
        with pytest.raises(ValueError, match="what Mean finds in the first view of target is"):
            module.expect_source_and_target()

import math

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader

from auxhand.optim import Parts, Schedule, WeightAverage, adam


def test_warmup_hold_and_cosine_in_closed_form():
    schedule = Schedule(warmup_steps=9, hold=0.5)
    assert schedule.factor(0, 100) == pytest.approx(0.1)
    assert schedule.factor(4, 100) == pytest.approx(0.5)
    assert schedule.factor(30, 100) == 1.0
    assert schedule.factor(75, 100) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert schedule.factor(100, 100) == pytest.approx(0.0, abs=1e-12)


def test_drops_are_those_of_chapter_6():
    schedule = Schedule(drops=(0.6, 0.9))
    epochs = [schedule.factor(step, 100) for step in (59, 60, 89, 90, 99)]
    assert epochs == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_scheduler_sets_the_rate_of_each_step():
    schedule = Schedule(warmup_steps=3, hold=0.2)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = schedule.scheduler(optimizer, total_steps=10)
    for step in range(10):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2 * schedule.factor(step, 10))
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("wrong", [{"hold": 1.5}, {"drops": (60,)}])
def test_shares_outside_the_unit_interval_are_refused(wrong):
    with pytest.raises(ValueError, match="share"):
        Schedule(**wrong)


def network() -> torch.nn.Module:
    """Two stages of a body, each with batch normalisation, and a head."""

    def stage(inputs):
        return torch.nn.Sequential(torch.nn.Linear(inputs, 3), torch.nn.BatchNorm1d(3))

    body = torch.nn.Sequential(stage(2), stage(3))
    return torch.nn.ModuleDict({"body": body, "head": torch.nn.Linear(3, 1)})


def names_by_rate(net, groups):
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {group["lr"]: sorted(names[id(p)] for p in group["params"]) for group in groups}


def test_each_part_learns_at_the_rate_of_its_longest_name():
    net = network()
    groups = Parts(rates={"body": 0.1, "body.1": 0.5}).groups(net, 2.0)
    assert names_by_rate(net, groups) == {
        0.2: ["body.0.0.bias", "body.0.0.weight", "body.0.1.bias", "body.0.1.weight"],
        1.0: ["body.1.0.bias", "body.1.0.weight", "body.1.1.bias", "body.1.1.weight"],
        2.0: ["head.bias", "head.weight"],
    }
    optimizer = adam(groups, 2.0, Schedule(warmup_steps=1), 10)["optimizer"]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.5, 1.0])


def test_frozen_parts_keep_weights_and_statistics():
    net = network()
    parts = Parts(frozen=("body.0",), frozen_statistics=("body.1",))
    groups = parts.groups(net.train(), 0.1)
    assert names_by_rate(net, groups) == {
        0.1: [
            *("body.1.0.bias", "body.1.0.weight", "body.1.1.bias", "body.1.1.weight"),
            *("head.bias", "head.weight"),
        ]
    }
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(groups)
    for _ in range(3):
        net.train()
        parts.freeze(net)  # as at the beginning of each epoch
        output = net["head"](net["body"](torch.randn(5, 2, generator=torch.manual_seed(0))))
        output.square().sum().backward()
        optimizer.step()
    kept = {name for name, value in net.state_dict().items() if torch.equal(value, before[name])}
    statistics = {name for name in before if "running" in name or "tracked" in name}
    assert kept == {name for name in before if name.startswith("body.0")} | statistics


@pytest.mark.parametrize("parts", [{"rates": {"tail": 1}}, {"frozen": ["body.2"]}])
def test_parts_that_are_not_there_are_named(parts):
    name = "tail" if "rates" in parts else r"body\.2"
    with pytest.raises(ValueError, match=f"the network has no '{name}'"):
        Parts(**parts).groups(network(), 1.0)


class Counter(LightningModule):
    """Its weight is the number of steps it was trained for."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.register_buffer("twice", torch.zeros(()))
        self.validated = []

    def training_step(self, batch, batch_idx):
        self.twice += 2
        return -self.weight

    def validation_step(self, batch, batch_idx):
        self.validated.append((self.weight.item(), self.twice.item()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def count(folder, average, epochs, resume=None):
    """A counter trained for epochs of one step, validated and saved after each."""
    counter, one = Counter(), DataLoader([0])
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[average, ModelCheckpoint(folder, "{epoch}", save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
    )
    trainer.fit(counter, one, one, ckpt_path=resume, weights_only=True)
    return counter


def test_the_average_is_the_weights_until_it_starts(tmp_path):
    average = WeightAverage(decay=0.5, update_starting_at_step=2)
    counter = count(tmp_path, average, epochs=5)
    expected = [0, 1, 2, 3, 3.5, 4.25]
    assert counter.validated == [(w, 2 * w) for w in expected]
    assert (counter.weight.item(), counter.twice.item()) == (4.25, 8.5)
    for epoch, value in enumerate(expected[1:]):
        saved = torch.load(tmp_path / f"epoch={epoch}.ckpt", weights_only=True)
        assert saved["state_dict"]["weight"].item() == value
        assert saved["current_model_state"]["weight"].item() == epoch + 1


def test_a_training_shorter_than_the_averages_start_ends_with_its_weights(tmp_path):
    counter = count(tmp_path, WeightAverage(decay=0.5, update_starting_at_step=600), epochs=3)
    assert (counter.weight.item(), counter.twice.item()) == (3, 6)


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.filterwarnings("error:.*callbacks used to create the checkpoint")
def test_lightnings_own_average_is_resumed(tmp_path, epoch):
    count(tmp_path, EMAWeightAveraging(decay=0.5, update_starting_at_step=2), epochs=epoch + 1)
    average = WeightAverage(decay=0.5, update_starting_at_step=2)
    saved = tmp_path / f"epoch={epoch}.ckpt"
    assert count(tmp_path / "on", average, epochs=5, resume=saved).weight.item() == 4.25


def test_adam_is_pytorchs_and_is_clipped_under_mixed_precision():
    """Steps of the fused one are those of the plain one, and Lightning clips its gradients."""

    class Line(LightningModule):
        def __init__(self, optimizer):
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(3, 2)
            self.optimizer = optimizer

        def training_step(self, batch, batch_idx):
            return 100 * self.layer(batch).float().square().mean()

        def configure_optimizers(self):
            return self.optimizer(self.parameters())

    def plain(parameters):
        return torch.optim.AdamW(parameters, 0.1, (0.9, 0.99), weight_decay=0.01)

    def ours(parameters):
        return adam(parameters, 0.1, Schedule(), 8, 0.01, (0.9, 0.99))["optimizer"]

    data = DataLoader(torch.rand(8, 4, 3, generator=torch.Generator().manual_seed(0)), None)
    after = []
    for optimizer in (plain, ours):
        model = Line(optimizer)
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            precision="bf16-mixed",
            gradient_clip_val=1e-3,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, data)
        after.append(model.layer.weight.detach())
    torch.testing.assert_close(after[1], after[0])

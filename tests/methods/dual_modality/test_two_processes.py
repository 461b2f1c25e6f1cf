"""Distributed training of the dual-modality network: negatives of both processes, one bundle."""

from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from auxhand.inference.bundle import load_bundle
from auxhand.methods.dual_modality.module import DualModality
from auxhand.models.dual_branch import Branch, Branches, DualBranch
from auxhand.sample import HandPose

LAPTOP = Path(__file__).parents[3] / "configs" / "laptop"
COUNT = 3
"""Pairs of each process."""


def method():
    torch.manual_seed(0)
    return DualModality(DualBranch("test_resnet", width=8))


def branches(channels, rows):
    """Deepest maps of 2 COUNT pairs, the first views before the second ones; those rows of both."""
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(3, 2, 2 * COUNT, channels, 2, 2, generator=generator)[:, :, rows]
    return Branches(*(Branch(HandPose(), context.flatten(0, 1)) for context in maps))


def _contrast(rows):
    """L_c of some pairs, and its gradient at the projection's last bias."""
    made = method()
    count = len(range(2 * COUNT)[rows])
    loss = made.contrastive(branches(made.network.body.context_channels, rows), count)
    (gradient,) = torch.autograd.grad(loss, made.projection.layers[-1].bias)
    return loss.detach(), gradient


def _one_of_two(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.save(_contrast(slice(COUNT * rank, COUNT * rank + COUNT)), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_each_sample_is_contrasted_with_those_of_both_processes(tmp_path):
    multiprocessing.start_processes(_one_of_two, (str(tmp_path),), 2, start_method="fork")
    losses, gradients = zip(
        *(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)), strict=True
    )
    loss, gradient = _contrast(slice(None))
    torch.testing.assert_close(sum(losses) / 2, loss)
    torch.testing.assert_close(sum(gradients) / 2, gradient, rtol=1e-3, atol=1e-6)


@pytest.fixture
def images_seen(tmp_path, hand_dataset, train_in_two_processes):
    """images_seen(configuration, settings): of the bundle that a miniature of it makes."""

    def train(name, settings):
        shared = {
            "trainer.default_root_dir": tmp_path / "run",
            "trainer.accelerator": "cpu",
            "trainer.devices": 2,
            "trainer.strategy": "ddp",
            "trainer.precision": "32-true",
            "trainer.max_epochs": 1,
            "model.init_args.network.init_args.backbone": "test_resnet",
            "data.init_args.train.source.roots": hand_dataset,
            "data.init_args.val_count": 2,
            "data.init_args.workers": 0,
        }
        words = [f"{entry}={value}" for entry, value in (shared | settings).items()]
        train_in_two_processes(LAPTOP / name, "--set", *words)
        return load_bundle(tmp_path / "run" / "bundle").metadata["images_seen"]

    return train


def test_two_processes_pre_train_one_bundle(images_seen):
    settings = {
        "model.init_args.network.init_args.pretrained": "false",
        "data.init_args.batch_size": 2,
        "data.init_args.images_per_epoch": 8,
    }
    assert images_seen("dual_modality_pretrain.yaml", settings) == 8


def test_two_processes_fine_tune_one_bundle(images_seen, hand_dataset):
    settings = {
        "start_from": "null",
        "data.init_args.train.target.roots": hand_dataset,
        "data.init_args.train.source.batch_size": 2,
        "data.init_args.train.target.batch_size": 2,
        "data.init_args.val": hand_dataset,
        "data.init_args.images_per_epoch": 16,
    }
    assert images_seen("dual_modality.yaml", settings) == 16

"""A miniature of what chapters 6 and 7 learn from: labelled crops of one dataset, and crops of
another in two views."""

import torch

from auxhand.data.columns import decode_mask
from auxhand.data.crops import CropRule
from auxhand.data.module import HandDataModule
from auxhand.data.store import shard_path, write_description, write_shard
from auxhand.data.streams import Phase, Stream
from auxhand.data.strengths import Augmentation
from auxhand.geometry.crop import uv_box

SIZE = 64
PLAIN = Augmentation(smallest=0.8, largest=0.8)
STRONG = Augmentation(smallest=0.7, largest=0.85, rotation=20.0, translation=0.05)


def module(**train):
    """Streams by name, four samples a batch where a stream says nothing else."""
    crop = CropRule("mask", 0.8, "plain")
    return HandDataModule(train, val_count=2, batch_size=4, workers=0, depth="hand", crop=crop)


def streams(root, target=None, told=()):
    """Four labelled samples a batch, and two of the target in two views."""
    use = {"use": "weak", "told": list(told)} if told else {"use": "unlabelled"}
    source = Stream(str(root), phases=[Phase(0, SIZE, augmentation=STRONG)])
    phases = [Phase(0, SIZE, augmentation=PLAIN, second=STRONG)]
    views = Stream(str(target or root), views=2, batch_size=2, phases=phases, **use)
    return module(source=source, target=views)


def first_batch(data):
    """(source, target)."""
    step, _, _ = next(iter(data.train_dataloader()))
    return step["source"], step["target"]


def write_target(root, rows, poisoned):
    """A dataset that tells where its hands are; poisoned: all else that it says is nonsense."""
    for row in rows:
        ys, xs = torch.nonzero(torch.from_numpy(decode_mask(row["mask"])) > 0.5).T
        row["box"] = uv_box(torch.stack([xs, ys], -1).double()).tolist()
        if poisoned:
            row["joints_uv"], row["joints_xyz"] = [float("nan")] * 42, [float("nan")] * 63
            row["mask"] = row["depth"] = b"no picture"
    root.mkdir()
    write_shard(shard_path(root, 0), rows)
    write_description(root, len(rows))
    return root

"""A stand-in for rendered hands: a skeleton of thick lines, posed and projected exactly.

What takes seconds to import is imported where it is used: the process that hands out the tests to
others reads this file too, and they wait for it.
"""

import os
import socket

import cv2
import numpy as np
import pytest

FLAT_HAND = np.zeros((21, 3))
"""An open right hand in metres, palm to the camera: fingers to -y, thumb to +x."""
_BASES = ((0.03, -0.03), (0.025, -0.09), (0.0, -0.095), (-0.02, -0.09), (-0.04, -0.08))
for finger, (x, y) in enumerate(_BASES):
    length = (0.028, 0.03, 0.033, 0.03, 0.024)[finger]
    for joint in range(4):
        sideways = 0.6 * length * joint if finger == 0 else 0.1 * x * joint
        FLAT_HAND[1 + 4 * finger + joint] = (x + sideways, y - length * joint, -0.004 * joint)


def project(K, xyz):
    uvw = xyz @ np.asarray(K).T
    return uvw[:, :2] / uvw[:, 2:]


def pose_hand(rng, size, side="right"):
    """(K, uv, xyz) of the hand at a random place and orientation, wholly inside the image."""
    K = np.array([[1.4 * size, 0, size / 2 - 3], [0, 1.45 * size, size / 2 + 2], [0, 0, 1]])
    for _ in range(1000):
        turn = cv2.Rodrigues(rng.normal(0, 0.6, 3))[0]
        xyz = FLAT_HAND * (1 if side == "right" else [-1, 1, 1]) @ turn.T
        xyz += np.array([rng.uniform(-0.1, 0.1), rng.uniform(0, 0.15), rng.uniform(0.3, 0.5)])
        uv = project(K, xyz)
        if uv.min() > 8 and uv.max() < size - 9:
            return K, uv, xyz
    raise AssertionError("no pose inside the image")


def pytest_collection_modifyitems(items):
    """Ray's tests last: after them in one process, a page that gradio serves leaves pytest's
    captured streams closed."""
    items.sort(key=lambda item: item.path.name in ("test_cluster.py", "test_work.py"))


@pytest.fixture(scope="session")
def hand_row():
    """make(index, size, side, rgba): a row of a prepared dataset."""
    from auxhand.data.columns import make_row
    from auxhand.hand.skeleton import BONES

    def make(index=0, size=128, side=None, rgba=True):
        rng = np.random.default_rng([3, index])
        side = side or ("right", "left")[index % 2]
        K, uv, xyz = pose_hand(rng, size, side)
        depth = np.zeros((size, size), np.float32)
        cut = np.zeros((size, size, 4), np.uint8)
        thick = max(2, size // 16)
        for parent, child in BONES:
            line = np.rint(uv[parent]).astype(int).tolist(), np.rint(uv[child]).astype(int).tolist()
            color = rng.integers(120, 220, 3).tolist()
            cv2.line(cut, *line, (*color, 255), thick, cv2.LINE_AA)
            cv2.line(depth, *line, float(xyz[child, 2]), thick)
        mask = cut[..., 3] > 127
        image = np.where(mask[..., None], cut[..., :3], rng.integers(0, 255, 3).astype(np.uint8))
        return make_row(
            index,
            image=image.astype(np.uint8),
            rgba=cut if rgba else None,
            depth=depth * mask,
            mask=mask,
            K=K,
            side=side,
            joints_uv=uv,
            joints_xyz=xyz,
            joint_valid=np.ones(21, bool),
            joint_visible=np.ones(21, bool),
            presence=1.0,
            source=f"fake/{index}",
        )

    return make


@pytest.fixture(scope="session")
def hand_dataset(tmp_path_factory, hand_row):
    """A prepared dataset of 12 such hands in two shards."""
    from auxhand.data.store import shard_path, write_description, write_shard

    root = tmp_path_factory.mktemp("prepared")
    for number in range(2):
        write_shard(shard_path(root, number), [hand_row(6 * number + i) for i in range(6)])
    write_description(root, 12)
    return root


TRAINING = """
seed_everything: 0
trainer:
  default_root_dir: {root}
  accelerator: cpu
  max_epochs: 3
  num_sanity_val_steps: 0
  gradient_clip_val: 5.0
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {{save_last: true}}
    - class_path: auxhand.optim.WeightAverage
      init_args: {{decay: 0.5}}
model:
  class_path: auxhand.methods.supervised.Supervised
  init_args:
    network:
      class_path: auxhand.models.pose_net.PoseNet
      init_args:
        body:
          class_path: auxhand.models.cpn.FeaturePyramid
          init_args: {{backbone: test_resnet, width: 8}}
        head:
          class_path: auxhand.models.heads.Latent25D
    weights: {{pose_25d: 10, heatmap_cross_entropy: 0.05, mask_cross_entropy: 0.3, presence: 0.1}}
    schedule: {{warmup_steps: 2, hold: 0.5}}
data:
  class_path: auxhand.data.module.HandDataModule
  init_args:
    train: {data}
    val_count: 2
    batch_size: 4
    images_per_epoch: 8
    workers: 0
    phases:
      - {{epoch: 0, size: 32, difficulty: 0.0}}
      - {{epoch: 2, size: 64, difficulty: 1.0}}
"""


@pytest.fixture(scope="session")
def training_yaml(hand_dataset):
    """text(run): the YAML of a tiny training in the folder `run`."""
    return lambda run: TRAINING.format(root=run, data=hand_dataset)


@pytest.fixture
def write_config(tmp_path, training_yaml):
    """write(name): that YAML as a file, whose run is tmp_path / name."""

    def write(name: str):
        path = tmp_path / f"{name}.yaml"
        path.write_text(training_yaml(tmp_path / name))
        return path

    return write


def _one_of_two(rank, port, arguments):
    import torch

    from auxhand.cli.main import main

    torch.set_num_threads(1)  # threads do not survive the fork
    cv2.setNumThreads(0)
    place = {"LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": 2}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in (place | meeting).items()})
    assert main(["train", *arguments]) == 0


@pytest.fixture(scope="session")
def train_in_two_processes():
    """train(arguments): `auxhand train` by two processes, as a cluster's scheduler starts them.

    They are forked: a process that begins with its imports takes longer than the training.
    """
    from torch import multiprocessing

    import auxhand.training  # noqa: F401  once, not in each of them

    def train(*arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        multiprocessing.start_processes(
            _one_of_two, (port, [str(a) for a in arguments]), 2, start_method="fork"
        )

    return train

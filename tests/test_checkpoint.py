"""Checkpoints that are taken, and what is said of files that are none."""

import os
import pickle

import pytest
import torch

from auxhand.checkpoint import PARTS, read_checkpoint

GOOD = {name: kind() for name, kind in PARTS.items()} | {"state_dict": {"a": torch.ones(2)}}


def test_a_checkpoint_comes_back(tmp_path):
    torch.save(GOOD, tmp_path / "last.ckpt")
    found = read_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(found.pop("state_dict")["a"], torch.ones(2))
    assert found == {"global_step": 0, "epoch": 0, "loops": {}, "optimizer_states": []}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("value", [None, "text"])
def test_a_part_that_is_missing_or_another_is_named(tmp_path, name, value):
    torch.save(GOOD | {name: value}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=rf"last\.ckpt is no checkpoint of a training: {name}"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_weights_that_are_no_tensors_are_named(tmp_path):
    torch.save(GOOD | {"state_dict": {"a": [1.0]}}, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="'a' is no tensor"):
        read_checkpoint(tmp_path / "last.ckpt")


class Code:
    """Whose unpickling would make a folder."""

    def __reduce__(self):
        return os.mkdir, ("made",)


def test_the_newest_good_one_is_named_and_no_code_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    last, older, newer = (tmp_path / f"{name}.ckpt" for name in ("last", "older", "newer"))
    for content in (b"", b"a text", pickle.dumps(Code())):
        last.write_bytes(content)
        with pytest.raises(ValueError, match="no other is good: --restart begins anew"):
            read_checkpoint(last)
    for age, file in enumerate((newer, older), start=1):
        torch.save(GOOD, file)
        os.utime(file, ns=(0, 10**18 - age * 10**9))
    (tmp_path / "newest.ckpt").write_bytes(b"cut")
    with pytest.raises(ValueError, match=r"last\.ckpt.* newest good checkpoint is .*newer\.ckpt"):
        read_checkpoint(last)
    assert not (tmp_path / "made").exists()

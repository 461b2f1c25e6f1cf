import json
import os
import pickle
import shutil
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from auxhand.data.columns import (
    decode_depth,
    decode_image,
    decode_labels,
    decode_mask,
    encode_depth,
    encode_jpeg,
    encode_png,
    make_row,
)
from auxhand.data.store import PreparedDataset, shard_path, write_description, write_shard
from auxhand.sample import HandSample


def fake_row(index: int, size: int = 24) -> dict:
    rng = np.random.default_rng([7, index])
    uv = rng.uniform(0, size - 1, (21, 2))
    xyz = np.concatenate([uv / 50, np.ones((21, 1))], 1)
    return make_row(
        index,
        image=rng.integers(0, 256, (size, size, 3), dtype=np.uint8),
        rgba=rng.integers(0, 256, (size, size, 4), dtype=np.uint8),
        depth=rng.uniform(0.2, 1.0, (size, size)),
        mask=rng.random((size, size)) > 0.5,
        K=np.diag([50.0, 50.0, 1.0]),
        side="left",
        joints_uv=uv,
        joints_xyz=xyz,
        joint_valid=np.ones(21, bool),
        joint_visible=rng.random(21) > 0.3,
        mano=rng.normal(size=58),
        presence=1.0,
        source=f"fake/{index}",
        factors={"light": [1, 2], "angle": 0.5},
    )


def write(root, counts=(3, 2)):
    root.mkdir(exist_ok=True)
    start = 0
    for number, count in enumerate(counts):
        write_shard(shard_path(root, number), [fake_row(i) for i in range(start, start + count)])
        start += count
    write_description(root, start, config={"size": 24})
    return root


def test_encodings_return_what_went_in():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    rgba = rng.integers(0, 256, (9, 7, 4), dtype=np.uint8)
    depth = rng.uniform(0, 6.5, (9, 7))
    mask = rng.random((9, 7)) > 0.5
    assert np.array_equal(decode_image(encode_png(rgb)), rgb)
    assert np.array_equal(decode_image(encode_png(rgba), 4), rgba)
    np.testing.assert_allclose(decode_depth(encode_depth(depth)), depth, atol=0.5e-4 + 1e-6)
    assert np.array_equal(decode_mask(encode_png(mask.astype(np.uint8) * 255)), mask)
    flat = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    assert np.abs(decode_image(encode_jpeg(flat)).astype(int) - flat).max() <= 3


@pytest.mark.parametrize("depth", [[[-0.1]], [[6.6]], [[float("nan")]]])
def test_depth_that_16_bits_cannot_hold_is_refused(depth):
    with pytest.raises(ValueError, match="depth must lie in"):
        encode_depth(np.array(depth))


def test_dataset_returns_what_was_written(tmp_path):
    dataset = PreparedDataset(write(tmp_path / "d"))
    assert len(dataset) == 5
    assert dataset.description["config"] == {"size": 24}
    for i in (4, 0, 3):  # any order, across shards
        row, sample, stored = fake_row(i), dataset[i], dataset.row(i)
        assert stored == row
        uv = torch.tensor(row["joints_uv"], dtype=torch.float64).view(21, 2)
        assert torch.equal(sample.joints_uv, uv)
        image = decode_image(row["image"])
        np.testing.assert_allclose(sample.image.numpy(), image.transpose(2, 0, 1) / 255, atol=1e-6)
        assert sample.mask.shape == sample.depth.shape == (24, 24)
        assert sample.K[0, 0] == 50
        assert (sample.side, sample.source, float(sample.presence)) == ("left", f"fake/{i}", 1.0)
    batch = HandSample.collate([dataset[0], dataset[1]])
    assert batch.image.shape == (2, 3, 24, 24)
    with pytest.raises(IndexError, match="samples 0 to 4"):
        dataset[5]


def test_dataset_travels_to_workers(tmp_path):
    dataset = PreparedDataset(write(tmp_path / "d"))
    assert dataset.row(3)["index"] == 3
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 20_000
    assert pickle.loads(pickled).row(4) == dataset.row(4)


def test_absent_fields_are_none(tmp_path):
    write_shard(shard_path(tmp_path, 0), [make_row(0, image=np.zeros((8, 8, 3), np.uint8))])
    write_description(tmp_path, 1)
    sample = PreparedDataset(tmp_path)[0]
    assert sample.image is not None
    for name in ("K", "side", "joints_uv", "joints_xyz", "joint_valid", "depth", "mask"):
        assert getattr(sample, name) is None
    assert sample.source == f"{tmp_path}#0"


def test_same_rows_give_same_bytes(tmp_path):
    rows = [fake_row(i) for i in range(4)]
    write_shard(tmp_path / "a.parquet", rows)
    write_shard(tmp_path / "b.parquet", iter([fake_row(i) for i in range(4)]))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 4


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(Exception):  # noqa: B017  (pyarrow's own kind)
        write_shard(tmp_path / "a.parquet", [{"index": 0, "image": 5}])
    assert list(tmp_path.iterdir()) == []


def test_wrong_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown columns"):
        write_shard(tmp_path / "a.parquet", [{"index": 0, "picture": b""}])
    with pytest.raises(ValueError, match=r"joints_uv must have shape \(21, 2\)"):
        make_row(0, joints_uv=np.zeros((16, 2)))
    with pytest.raises(ValueError, match="side must be"):
        make_row(0, side="Left")
    with pytest.raises(ValueError, match="joints_uv has 3 values, not 42"):
        decode_labels({"index": 0, "joints_uv": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="mine, row 3: side is 'up', not left or right"):
        decode_labels({"index": 3, "side": "up"}, "mine")


def test_corrupt_bytes_name_dataset_row_and_column(tmp_path):
    rows = [fake_row(i) for i in range(2)]
    rows[1]["mask"] = b"not a picture"
    write_shard(shard_path(tmp_path, 0), rows)
    write_description(tmp_path, 2)
    dataset = PreparedDataset(tmp_path)
    assert dataset[0].mask is not None
    with pytest.raises(ValueError, match="row 1, column 'mask'") as error:
        dataset[1]
    assert str(tmp_path) in str(error.value)
    with pytest.raises(ValueError, match="expected an 8-bit RGBA image"):
        decode_image(fake_row(0)["image"], 4)


def test_what_is_no_dataset_is_said_plainly(tmp_path):
    with pytest.raises(FileNotFoundError, match="no dataset folder"):
        PreparedDataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"it has no dataset\.json"):
        PreparedDataset(tmp_path)
    write_description(tmp_path, 5)
    with pytest.raises(FileNotFoundError, match="no shards"):
        PreparedDataset(tmp_path)
    write_shard(shard_path(tmp_path, 0), [fake_row(0)])
    with pytest.raises(ValueError, match=r"has 1 samples in 1 shards.*says 5"):
        PreparedDataset(tmp_path)
    shard_path(tmp_path, 0).write_bytes(b"PAR1 truncated")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        PreparedDataset(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        PreparedDataset(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 1"):
        PreparedDataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("joints_uv", ["a text"], "column joints_uv holds string, not list<"),
        ("image", [[1.0]], "column image holds list<"),
        ("joint_valid", [[1.0] * 21], "column joint_valid holds list<.*>, not list<.*bool>"),
        ("presence", [True], "column presence holds bool, not double"),
    ],
)
def test_columns_of_other_types_are_named(tmp_path, name, values, words):
    pq.write_table(pa.table({"index": [0], name: values}), shard_path(tmp_path, 0))
    write_description(tmp_path, 1)
    with pytest.raises(ValueError, match=f"data-00000.*{words}"):
        PreparedDataset(tmp_path)


def test_a_rewritten_shard_is_read_anew(tmp_path):
    write(tmp_path / "d", (2,))
    assert PreparedDataset(tmp_path / "d").row(0)["source"] == "fake/0"
    rows = [fake_row(5), fake_row(6)]
    write_shard(shard_path(tmp_path / "d", 0), rows)
    assert PreparedDataset(tmp_path / "d").row(0)["source"] == "fake/5"


def test_datasets_of_earlier_versions_may_lack_columns(tmp_path):
    root = write(tmp_path / "old", counts=(2,))
    table = pq.read_table(shard_path(root, 0))
    pq.write_table(table.drop_columns(["mano", "parts"]), shard_path(root, 0))
    row = PreparedDataset(root).row(1)
    assert row["mano"] is None
    assert {**row, "mano": fake_row(1)["mano"]} == fake_row(1)


def test_a_dataset_on_a_read_only_disk_is_read(hand_dataset, tmp_path, monkeypatch):
    root = tmp_path / "data"
    shutil.copytree(hand_dataset, root, ignore=shutil.ignore_patterns(".cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert PreparedDataset(root)[5].source == "fake/5"
    assert not (root / ".cache").exists()

"""The factory: the same bytes however they are made, labels that agree, clear failures."""

import hashlib
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from auxhand.data import store
from auxhand.data.columns import PARTS, decode_depth, decode_image, decode_mask, decode_parts
from auxhand.data.store import PreparedDataset
from auxhand.files import locked, writing
from auxhand.synth import factory
from auxhand.synth.config import FactorConfig
from auxhand.synth.distributions import GROUPS, sample_factors
from auxhand.synth.factors import Factors
from auxhand.synth.factory import Job, generate, make_sample
from auxhand.synth.sensor import photograph

JOB = Job(count=7, seed=3, size=48, shard_size=2)


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The dataset of `JOB`, made by one process."""
    return generate(tmp_path_factory.mktemp("synth") / "one", JOB, workers=1, progress=False)


def test_files(made):
    assert list(digests(made)) == [f"data-0000{k}.parquet" for k in range(4)] + ["dataset.json"]
    assert [pq.read_metadata(p).num_rows for p in sorted(made.glob("*.parquet"))] == [2, 2, 2, 1]
    description = json.loads((made / "dataset.json").read_text())
    assert description["count"] == 7
    assert description["config"]["view"]["upright"] == FactorConfig().view.upright


def test_two_processes_make_the_same_bytes(made, tmp_path):
    generate(tmp_path / "two", JOB, workers=2, progress=False)
    assert digests(tmp_path / "two") == digests(made)


def test_one_file_starts_no_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(factory, "_in_parallel", None)
    job = Job(count=2, seed=3, size=48)
    assert PreparedDataset(generate(tmp_path / "one", job, workers=2, progress=False)).row(1)


def test_resuming_makes_the_same_bytes(made, tmp_path):
    torn = tmp_path / "torn"
    shutil.copytree(made, torn, ignore=shutil.ignore_patterns(".cache"))
    (torn / "data-00001.parquet").unlink()
    (torn / ".tmp-77-data-00001.parquet").write_bytes(b"half a shard")
    kept = (torn / "data-00002.parquet").stat().st_mtime_ns
    generate(torn, JOB, workers=1, progress=False)
    assert digests(torn) == digests(made)
    assert (torn / "data-00002.parquet").stat().st_mtime_ns == kept


def test_shards_that_cannot_be_read_are_made_anew(made, tmp_path, caplog):
    torn = tmp_path / "torn"
    shutil.copytree(made, torn, ignore=shutil.ignore_patterns(".cache"))
    cut = torn / "data-00001.parquet"
    cut.write_bytes(cut.read_bytes()[:-100])
    (torn / "data-00002.parquet").write_bytes(b"")
    generate(torn, JOB, workers=1, progress=False)
    assert digests(torn) == digests(made)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    for line, name in zip(lines, ("data-00001.parquet", "data-00002.parquet"), strict=True):
        assert str(torn / name) in line
        assert "\n" not in line


def test_machines_that_start_at_once_agree_or_are_refused(made, tmp_path, monkeypatch):
    """Another machine writes its description between our look and our writing."""
    out = tmp_path / "out"
    write = store.write_description

    def overtaken(root, **arguments):
        write(root, **{**arguments, "seed": other})
        write(root, **arguments)

    monkeypatch.setattr(store, "write_description", overtaken)
    other = JOB.seed
    generate(out, JOB, workers=1, progress=False)
    assert digests(out) == digests(made)
    shutil.rmtree(out)
    other = JOB.seed + 1
    with pytest.raises(ValueError, match="another seed"):
        generate(out, JOB, workers=1, progress=False)
    assert [path.name for path in out.iterdir()] == ["dataset.json"]
    assert json.loads((out / "dataset.json").read_text())["seed"] == other


def test_interruption_leaves_whole_shards(made, tmp_path, monkeypatch):
    def interrupted(job, index):
        if index == 3:
            raise KeyboardInterrupt
        return make_sample(job, index)

    monkeypatch.setattr(factory, "make_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "out", JOB, workers=1, progress=False)
    assert sorted(digests(tmp_path / "out")) == ["data-00000.parquet", "dataset.json"]
    monkeypatch.undo()
    generate(tmp_path / "out", JOB, workers=1, progress=False)
    assert digests(tmp_path / "out") == digests(made)


def test_samples_do_not_depend_on_count_or_shards(made):
    other = Job(count=100, seed=3, size=48, shard_size=50)
    rows = pq.read_table(made / "data-00002.parquet").to_pylist()
    assert make_sample(other, 5) == rows[1]
    assert make_sample(Job(count=7, seed=4, size=48), 5) != rows[1]


def test_columns_agree(made):
    dataset = PreparedDataset(made)
    assert len(dataset) == 7
    for index in range(7):
        row = dataset.row(index)
        assert row["index"] == index
        K = np.array(row["K"]).reshape(3, 3)
        xyz = np.array(row["joints_xyz"]).reshape(21, 3)
        uv = xyz @ K.T
        np.testing.assert_allclose((uv[:, :2] / uv[:, 2:]).ravel(), row["joints_uv"], atol=1e-6)
        rgba = decode_image(row["rgba"], channels=4)
        depth, mask = decode_depth(row["depth"]), decode_mask(row["mask"])
        arm = decode_parts(row["parts"]) == PARTS.index("arm")
        things = json.loads(row["factors"])["occluders"]
        assert (depth[mask > 0] > 0).all()
        assert things or ((depth > 0) == (mask > 0) | arm).all()
        assert (rgba[..., 3][mask > 0] > 0).mean() > 0.99
        assert things or (rgba[..., 3][(mask == 0) & ~arm] < 255).all()
        assert not mask[arm].any()
        seen = depth[depth > 0]
        assert xyz[:, 2].min() - 0.05 < np.median(seen) < xyz[:, 2].max() + 0.25
        assert all(row["joint_valid"])
        assert 3 <= sum(row["joint_visible"]) <= 21
        factors = Factors.from_dict(json.loads(row["factors"]))
        assert factors == sample_factors(FactorConfig(), 3, index)
        assert row["side"] == factors.side
        image = decode_image(row["image"]).astype(float)
        opaque = rgba[..., 3] == 255
        taken = 255 * photograph(rgba[..., :3].astype(np.float32) / 255, factors.sensor)
        assert np.abs(image[opaque] - taken[opaque]).mean() < 12  # JPEG


def test_samples_decode(made):
    sample = PreparedDataset(made)[0]
    assert sample.image.shape == (3, 48, 48)
    assert float(sample.presence) == 1


def test_another_dataset_is_not_overwritten(made, tmp_path):
    with pytest.raises(ValueError, match=r"another count, seed: name another folder"):
        generate(made, Job(count=8, seed=4, size=48, shard_size=2), 1, progress=False)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no dataset"):
        generate(tmp_path, JOB, 1, progress=False)


def test_backgrounds_belong_to_the_dataset(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    colour = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    cv2.imwrite(str(photos / "a.png"), colour)
    job = Job(count=1, size=32, backgrounds=photos)
    description = job.describe()
    assert len(description["backgrounds"]) == 64
    assert Job(count=1, size=32).describe()["backgrounds"] is None
    factory._backgrounds.cache_clear()
    cv2.imwrite(str(photos / "a.png"), 255 - colour)
    assert job.describe()["backgrounds"] != description["backgrounds"]
    factory._backgrounds.cache_clear()


def test_bad_backgrounds_are_named_before_work(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        generate(tmp_path / "out", Job(count=1, backgrounds=tmp_path / "nowhere"), 1)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        generate(tmp_path / "out", Job(count=1, backgrounds=photos), 1)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_said_and_leaves_no_half_shard(made, tmp_path):
    """The system ends the writing of a file in its middle, as it would on a full disk."""
    resource = pytest.importorskip("resource")
    job = replace(JOB, size=160)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*out: .*; every shard that") as failure:
            generate(tmp_path / "out", job, 1, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(failure.value)
    assert "too large" in str(failure.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset.json"]
    generate(tmp_path / "out", job, 1, progress=False)
    assert (tmp_path / "out" / "data-00000.parquet").stat().st_size > 2 * 16384


def test_errors_of_worker_processes_arrive(tmp_path):
    out, job = tmp_path / "out", Job(count=2, size=32, shard_size=1)
    generate(out, job, 1, progress=False)
    names = ["data-00000.parquet", "data-00001.parquet"]
    for name in names:
        (out / name).unlink()
        (out / name).mkdir()  # nothing can be renamed onto a folder
    with pytest.raises(OSError, match="cannot write"):
        generate(out, job, 2, progress=False)
    assert sorted(p.name for p in out.iterdir()) == [*names, "dataset.json"]


@pytest.mark.parametrize(
    "arguments", [{"count": 0}, {"size": 8}, {"size": 9999}, {"seed": -1}, {"shard_size": 0}]
)
def test_numbers_are_checked(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Job(**{"count": 1, **arguments})


def test_workers_are_checked(tmp_path):
    with pytest.raises(ValueError, match="workers"):
        generate(tmp_path / "out", JOB, workers=0)


def test_without_cut_outs_pictures_are_used_as_they_are(tmp_path):
    job = Job(count=2, seed=3, size=48, cutouts=False)
    row = make_sample(job, 1)
    assert row == {**make_sample(replace(job, cutouts=True), 1), "rgba": None}
    generate(tmp_path / "out", job, workers=1, progress=False)
    assert PreparedDataset(tmp_path / "out").description["cutouts"] is False


def test_unknown_renderers_are_refused():
    with pytest.raises(ValueError, match="no renderer 'opengl'; there are: raster, pathtrace"):
        Job(count=1, renderer="opengl")


def test_shares_make_the_dataset_together(made, tmp_path):
    out = tmp_path / "out"
    generate(out, JOB, workers=1, progress=False, share=(1, 2))
    assert sorted(digests(out)) == ["data-00001.parquet", "data-00003.parquet", "dataset.json"]
    with locked(out, ".share-1-of-2.lock"), writing(out / "data-00001.parquet") as being_written:
        shutil.copy(out / "data-00001.parquet", being_written)  # by the other machine
        generate(out, JOB, workers=1, progress=False, share=(0, 2))
    assert digests(out) == digests(made)


def test_a_second_process_of_a_share_is_refused_and_takes_nothing_from_the_first(tmp_path):
    def another(job, index):
        with pytest.raises(ValueError, match=f"another process is at work in {out}"):
            generate(out, JOB, workers=1, progress=False)
        return make_sample(job, index)

    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factory, "make_sample", another)
        generate(out, JOB, workers=1, progress=False)
    assert len(PreparedDataset(out)) == 7


def test_a_shard_that_another_partition_writes_is_left_to_it(made, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with writing(out / "data-00001.parquet") as being_written:
        generate(out, JOB, workers=1, progress=False)
        shutil.copy(made / "data-00001.parquet", being_written)
    assert digests(out) == digests(made)


@pytest.mark.parametrize("share", [(2, 2), (0, 0), (-1, 2)])
def test_shares_that_are_none_are_refused(tmp_path, share):
    with pytest.raises(ValueError, match="0 <= i < n"):
        generate(tmp_path / "out", JOB, workers=1, progress=False, share=share)
    assert not (tmp_path / "out").exists()


def test_groups_differ_in_what_varies_alone(tmp_path):
    job = Job(count=5, seed=3, size=48, vary=("pose", "wrist", "view"), each=2)
    dataset = PreparedDataset(generate(tmp_path / "groups", job, workers=1, progress=False))
    assert dataset.contents() == ["synth/3/0", "synth/3/0", "synth/3/1", "synth/3/1", "synth/3/2"]
    factors = [Factors.from_dict(each) for each in dataset.factors()]
    for first, second in (factors[:2], factors[2:4]):
        differing = {g for g in GROUPS if getattr(first, g) != getattr(second, g)}
        assert {"pose", "view"} <= differing <= {"pose", "wrist", "view"}
    assert factors[0].background != factors[2].background
    assert factors[0] == sample_factors(job.config, 3, 0)
    # Another number of samples to a group is another dataset.
    with pytest.raises(ValueError, match="another each"):
        generate(tmp_path / "groups", replace(job, each=4), workers=1, progress=False)


def test_groups_that_cannot_be_are_refused(made):
    with pytest.raises(ValueError, match="no factor poze to vary; there are: side, shape"):
        replace(JOB, vary=("poze",))
    with pytest.raises(ValueError, match="each must be at least 2"):
        replace(JOB, each=1)
    assert PreparedDataset(made).contents() == [None] * 7

"""A request to end (SIGTERM) while a command works: what is kept is said, and is whole."""

import os
import signal

import pyarrow.parquet as pq
import pytest
from lightning import Callback
from PIL import Image

import auxhand.data.convert as conversion
from auxhand.cli import photo
from auxhand.cli.main import main
from auxhand.data.readers.folder import Folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals")


def after(calls, function):
    """The function, whose call after that many brings SIGTERM."""
    left = iter([False] * calls + [True])

    def called(*arguments, **options):
        if next(left):
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*arguments, **options)

    return called


def last_line(capsys):
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.err.splitlines()[-1]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 40), (60 * number, 90, 90)).save(folder / f"{number}.png")
    return folder


def test_predict_keeps_the_photos_before(photos, tmp_path, monkeypatch, capsys):
    # Of the second photo the overlay and the 3D view are there, the numbers are to be written.
    monkeypatch.setattr(photo, "write_result", after(5, photo.write_result))
    out = tmp_path / "out"
    box = ["--box", "4,4,30,30", "--side", "right"]
    assert main(["predict", str(photos), "--out", str(out), *box]) == 143
    assert last_line(capsys) == (
        f"auxhand predict: error: interrupted: results of the photos before are in {out}; again, "
        "all photos are read anew"
    )
    assert {p.name for p in out.iterdir()} == {"0.json", "0_overlay.png", "0_3d.png"}


def test_convert_keeps_whole_files_and_goes_on(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(conversion, "SHARD_SIZE", 2)
    out = tmp_path / "prepared"
    arguments = ["data", "convert", "folder", str(photos), str(out), "--size", "32"]
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "__getitem__", after(3, Folder.__getitem__))
        assert main(arguments) == 143
    assert last_line(capsys) == (
        f"auxhand data: error: interrupted: whole files are kept in {out}; the same command goes on"
    )
    assert {p.name for p in out.iterdir()} == {"dataset.json", "data-00000.parquet"}
    assert pq.read_metadata(out / "data-00000.parquet").num_rows == 2
    assert main(arguments) == 0
    assert len(list(out.glob("*.parquet"))) == 2


class Terminates(Callback):
    """Brings SIGTERM in the epoch of a training."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("epoch", [0, 1])
def test_train_keeps_the_last_checkpoint(write_config, tmp_path, monkeypatch, capsys, epoch):
    from auxhand import training

    fit = training._fit

    def terminated(run, last):
        run.trainer.callbacks.append(Terminates(epoch))
        fit(run, last)

    config = ["train", str(write_config("run")), "--set", "trainer.max_epochs=2"]
    with monkeypatch.context() as patch:
        patch.setattr(training, "_fit", terminated)
        assert main(config) == 143
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    kept = f"the same command resumes from {last}"
    none = "before the first checkpoint; the same command begins anew"
    said = none if epoch == 0 else kept
    assert last_line(capsys) == f"auxhand train: error: interrupted: {said}"
    assert last.is_file() == (epoch == 1)
    assert not list(tmp_path.rglob(".tmp-*"))
    assert main(config) == 0
    assert ("resuming from" in capsys.readouterr().out) == (epoch == 1)

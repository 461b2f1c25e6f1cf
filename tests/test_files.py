"""Files and folders appear whole or not at all; what killed processes left goes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auxhand.files import check_writable, locked, sweep, writing, writing_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def targets(folder):
    """What the temporaries in a folder should become."""
    return sorted(name.rpartition("-")[2] for name in names(folder) if name != ".lock")


def fail(writer, error):
    """Write a half, then fail."""
    with writer as temporary:
        half = temporary / "half" if temporary.is_dir() else temporary
        half.write_text("half")
        raise error


def test_a_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "a.npz"
    with writing(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("-a.npz")
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert names(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_file_as_it_was(tmp_path, error):
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(error):
        fail(writing(target), error)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_one_of_two_writers_of_a_new_file_succeeds(tmp_path):
    target = tmp_path / "a"
    first, second = (writing(target, overwrite=False) for _ in range(2))
    second.__enter__().write_text("second")
    with first as temporary:
        temporary.write_text("first")
    with pytest.raises(FileExistsError):
        second.__exit__(None, None, None)
    assert target.read_text() == "first"
    assert names(tmp_path) == ["a"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "a"
    for text in ("old", "new"):
        with writing_folder(target) as temporary:
            (temporary / text).write_text(text)
    assert names(target) == ["new"]
    with pytest.raises(KeyboardInterrupt):
        fail(writing_folder(target), KeyboardInterrupt)
    assert names(target) == ["new"]
    assert names(tmp_path) == ["a"]


def test_the_old_folder_comes_back_where_the_new_one_cannot_be_renamed(tmp_path):
    target = tmp_path / "a"
    target.mkdir()
    (target / "old").write_text("")
    with pytest.raises(FileNotFoundError), writing_folder(target) as temporary:
        temporary.rmdir()
    assert names(target) == ["old"]
    assert names(tmp_path) == ["a"]


KILLED = """
import os, sys
from auxhand.files import locked, writing, writing_folder
folder = sys.argv[1]
with locked(folder), writing(folder + "/a") as file, writing_folder(folder + "/b") as made:
    file.write_text("half")
    (made / "part").write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_leaves_goes_and_what_a_living_one_writes_stays(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "written\n"
        sweep(tmp_path)
        assert targets(tmp_path) == ["a", "b"]
        with pytest.raises(ValueError, match=f"another process is at work in {tmp_path}"):
            locked(tmp_path).__enter__()
        process.kill()
        process.wait()
    sweep(tmp_path, {"b"})
    assert targets(tmp_path) == ["a"]
    sweep(tmp_path)
    with locked(tmp_path):
        assert names(tmp_path) == [".lock"]
    assert names(tmp_path) == []


def test_locks_of_other_names_do_not_meet(tmp_path):
    with locked(tmp_path, ".a.lock"), locked(tmp_path, ".b.lock"):
        assert names(tmp_path) == [".a.lock", ".b.lock"]
    sweep(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_written_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    check_writable(tmp_path / "new" / "folder")
    assert names(tmp_path) == ["file"]
    for folder in ("file", "file/below"):
        with pytest.raises(NotADirectoryError, match="file"):
            check_writable(tmp_path / folder)
    monkeypatch.setattr("os.access", lambda place, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match=str(tmp_path)):
        check_writable(tmp_path / "new")


def test_what_cannot_be_written_is_called_by_its_own_name(tmp_path):
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "folder", tmp_path / "missing" / "a.txt"):
        with pytest.raises(OSError, match=r"Is a directory|No such file") as error, writing(target):
            pass
        assert error.value.filename == str(target)


def test_a_read_only_disk_is_told_of_the_file_that_was_to_be_written(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as error, writing(tmp_path / "a.txt"):
        pass
    assert error.value.filename == str(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("number", "filename", "named"),
    [(errno.ENOSPC, None, True), (errno.ENOSPC, "other", False), (errno.EIO, None, False)],
)
def test_a_full_disk_is_told_of_the_file_that_was_written(tmp_path, number, filename, named):
    target = tmp_path / "a.json"
    with pytest.raises(OSError, match=os.strerror(number)) as error, writing(target):
        raise OSError(number, os.strerror(number), filename)
    assert (error.value.filename == str(target)) == named
    assert not list(tmp_path.iterdir())

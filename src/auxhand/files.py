"""Files and folders that appear whole or not at all, and folders that one process works in at once.

Everything is written under a temporary name beside its target (`.tmp-TOKEN-NAME`, in the same file
system) and then renamed. A process that is killed leaves its temporary there; `sweep` removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Container, Iterator
from pathlib import Path

import filelock

if sys.platform != "win32":
    import fcntl

_MARK = ".tmp-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], overwrite: bool = True) -> Iterator[Path]:
    """Yield the temporary name of a file, which gets its own name when the block ends.

    An exception leaves the file as it was, and no temporary. The temporary is empty at first and
    ends as `path` does, which some writers take the format from.

    Args:
        path: the file; its folder must be there.
        overwrite: replace a file of this name.

    Raises:
        FileExistsError: there is one and `overwrite` is false; of several processes that write it
            at once, one succeeds.
        OSError: it cannot be written.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        temporary.touch()
        with _held(temporary):
            yield temporary
            if overwrite:
                temporary.replace(path)
            else:
                _rename_to_new(temporary, path)
    except OSError as error:
        # The temporary's name says nothing to anybody, and a full disk names none.
        if error.filename == str(temporary) or (error.filename is None and error.errno in _FULL):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # a read-only disk refuses this too, in its own words
            temporary.unlink()


@contextlib.contextmanager
def writing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder, which takes the place of `path` when the block ends.

    An exception leaves the old folder as it was, and no temporary.

    Args:
        path: the folder; its parent must be there, and what it holds is replaced.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    new, old = _beside(path), _beside(path)
    try:
        new.mkdir()
        with _held(new):
            yield new
            if path.exists():
                path.rename(old)
            try:
                new.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
    finally:
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], name: str = ".lock") -> Iterator[None]:
    """Keep other processes that ask for the same lock out of a folder; a killed process holds none.

    Args:
        folder: it must be there; the lock is a hidden file in it.
        name: of that file, for several locks in one folder.

    Raises:
        ValueError: another process holds it.
        OSError: the folder cannot be written to.
    """
    lock = filelock.FileLock(Path(folder) / name)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ValueError(
            f"another process is at work in {folder}: wait for it, or name another folder"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # where an open file cannot be removed
            Path(lock.lock_file).unlink()
        lock.release()


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Check, before work whose results are to lie there, that a folder can be written to or made.

    Raises:
        NotADirectoryError, PermissionError: it cannot.
    """
    path = Path(folder).absolute()
    place = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def sweep(folder: str | os.PathLike[str], targets: Container[str] | None = None) -> None:
    """Remove what killed processes have left of files and folders half written.

    What a living process is writing stays.

    Args:
        folder: where they lie; it need not be there.
        targets: remove only what should have become a file or folder of these names.
    """
    for path in Path(folder).glob(f"{_MARK}*"):
        if targets is not None and path.name.removeprefix(_MARK).partition("-")[2] not in targets:
            continue
        with contextlib.suppress(OSError), _held(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def is_temporary(path: Path) -> bool:
    """Whether it is one of the temporary or lock files of this module."""
    return path.name.startswith(_MARK) or path.name.endswith(".lock")


def _beside(path: Path) -> Path:
    # Not the process's number, which two machines may share.
    return path.with_name(f"{_MARK}{secrets.token_hex(8)}-{path.name}")


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a file or folder, by which `sweep` knows that its process lives.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened.
    """
    if sys.platform == "win32":  # which does not remove what a process has open
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def _rename_to_new(old: Path, new: Path) -> None:
    """Rename a file, but fail where the new name is taken, which `Path.replace` replaces."""
    try:
        os.link(old, new)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if new.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from None
        old.replace(new)

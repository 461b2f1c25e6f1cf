"""The `auxhand` command: picks a command's module, runs it, turns mistakes into one line of error.

A command NAME is a module `auxhand.cli.NAME` with `parser()` and `run(args)`, which returns its
exit code, or nothing for 0. The module is imported only when chosen, and imports what it works with
only when it runs, so that no `--help` waits for it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, TextIO, cast

COMMANDS: dict[str, str] = {
    "predict": "3D hand pose in photos: overlay, JSON and 3D view",
    "webcam": "the same, live: the hands that a camera sees",
    "app": "the same in the browser: a page for photos, clips and the webcam",
    "view": "hands that were found, in a 3D viewer or as glTF",
    "data": "check a public dataset on disk, or convert it",
    "synth": "make a labelled, multi-modal dataset of rendered hands",
    "train": "train a method from a configuration file",
    "adapt": "fit the model to your own photos or videos, without labels",
    "evaluate": "EPE, PCK and AUC of a model on a dataset",
    "export": "a model for ONNX Runtime or OpenVINO",
    "synthesize": "hands from a model's latent space: between two photos, or at random",
}
"""Name of each command and what it does."""

KEPT: dict[str, str] = {
    "predict": "results of the photos before are in {out}; again, all photos are read anew",
    "data convert": "whole files are kept in {out}; the same command goes on",
    "synth": "whole files are kept in {out}; the same command goes on",
    "train": "the same command goes on from the run's last checkpoint",
    "adapt": "what was done is kept in {out}; the same command goes on",
}
"""What an interruption leaves and how to go on, by command and part. Others leave nothing; an
interruption that knows more has a text of its own."""

TRAINS = ("train", "adapt")
"""Commands that are worth `large_pages`."""

TUNABLES = "GLIBC_TUNABLES"
"""The variable that glibc reads when a process starts, and then alone."""

FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """A request to end (SIGTERM), upon which work is left as upon Ctrl-C."""


def console() -> int:
    """The console script: `main`, in a process with large pages where it trains."""
    if sys.argv[1:2] and sys.argv[1] in TRAINS:
        large_pages()
    return main()


def large_pages() -> None:
    """On Linux, begin this process anew with memory in pages of 2 MB, unless something is set.

    Training on a CPU takes half to five sixths of the time (docs/results/speed.md). Another C
    library than glibc (2.35 or later) ignores the variable.
    """
    if sys.platform == "linux" and TUNABLES not in os.environ:
        os.environ[TUNABLES] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main(argv: Sequence[str] | None = None) -> int:
    """Run `auxhand ARGV...` and return its exit code.

    0 is success, 1 that a part of the work failed, 2 a user's mistake (one line on stderr; the
    traceback too if the environment variable AUXHAND_TRACEBACK is set), 130 an interruption by
    Ctrl-C, 143 by SIGTERM: one line says what is kept and how to go on. Where nobody reads what is
    printed, nothing is: results are in files.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called (`>&-`)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    said, told = (cast(TextIO, _Heard(stream)) for stream in (sys.stdout, sys.stderr))
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        try:
            return _main(argv)
        finally:
            said.flush()
            told.flush()


class _Heard:
    """A stream, of which what nobody reads (`| head -1`) or what finds no room is lost.

    What begins to fail goes nowhere from then on; for want of room that is said, once. Characters
    that it has no code for are printed as `\\xe9`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write as far as possible."""
        code = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(code, "backslashreplace").decode(code))
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Flush as far as possible."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            complain("auxhand", f"nothing more can be printed: {error.strerror}")


def _main(argv: Sequence[str] | None) -> int:
    """See `main`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else USAGE_ERROR
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"auxhand {version('auxhand')}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        complain("auxhand", f"no command {name!r}; there are: {', '.join(COMMANDS)}")
        return USAGE_ERROR
    parsed = None
    try:
        command = importlib.import_module(f"auxhand.cli.{name}")
        parser = command.parser()
        parser.prog = f"auxhand {name}"
        if "" in rest:  # which would be taken for the folder that one is in
            raise ValueError("an argument is empty: leave it out, or set the variable it is of")
        parsed = parser.parse_args(rest)
        with terminable():
            return command.run(parsed) or 0
    except KeyboardInterrupt as error:
        complain(f"auxhand {name}", f"interrupted: {str(error) or _kept(name, parsed)}")
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    except (RecursionError, MemoryError) as error:
        if os.environ.get("AUXHAND_TRACEBACK"):
            raise
        deep = isinstance(error, RecursionError)
        what = "nested too deeply, or refers to itself" if deep else "too large for the memory"
        complain(f"auxhand {name}", f"a file that was read is {what}")
        return USAGE_ERROR
    except BrokenPipeError:
        what = "nobody reads what is printed, or a process of this run has ended"
        complain(f"auxhand {name}", f"broken pipe: {what}")
        return FAILED
    except (OSError, ValueError, ModuleNotFoundError) as error:
        if os.environ.get("AUXHAND_TRACEBACK"):
            raise
        complain(f"auxhand {name}", describe(error))
        return USAGE_ERROR


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`, once; elsewhere than in the main thread it does not."""

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # no second one while files are put away
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _kept(name: str, parsed: Namespace | None) -> str:
    """See `KEPT`."""
    part = f"{name} {getattr(parsed, 'subcommand', '')}".strip()
    if parsed is None or part not in KEPT:
        return "nothing was written"
    return KEPT[part].format(**vars(parsed))


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: auxhand COMMAND ...",
            "",
            "3D hand pose from a single RGB image, learnt with auxiliary information.",
            "",
            *lines,
            "",
            "auxhand COMMAND --help explains a command. Example: auxhand predict photo.jpg",
        ]
    )


def describe(error: Exception) -> str:
    """The error in one line: what is wrong and, for files, where."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    return str(error) or type(error).__name__


def complain(who: str, message: str) -> None:
    """Say what is wrong in one line on stderr."""
    line = f"{who}: error: {' '.join(message.split())}"
    print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(console())

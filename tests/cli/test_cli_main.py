"""The `auxhand` command: choosing a command, exit codes, one line per mistake."""

import io
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from auxhand.cli import main as cli
from auxhand.cli.arguments import Parser


def command(run):
    """A command module whose parser takes one integer."""

    def parser():
        result = Parser()
        result.add_argument("--count", type=int, default=1)
        return result

    return SimpleNamespace(parser=parser, run=run)


@pytest.fixture
def run_with(monkeypatch):
    """Run `auxhand predict ARGV` with a given body in place of the real command."""

    def run(body, *argv):
        monkeypatch.setattr(cli.importlib, "import_module", lambda name: command(body))
        return cli.main(["predict", *argv])

    return run


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in cli.COMMANDS)


def test_no_command_is_a_usage_error(capsys):
    assert cli.main([]) == 2
    assert "usage" in capsys.readouterr().out


class Begun(Exception):
    """A process that would have begun anew."""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_training_begins_anew_with_large_pages_once(monkeypatch):
    def begin(file, argv):
        raise Begun(file, argv, os.environ[cli.TUNABLES])

    monkeypatch.setattr(os, "execv", begin)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "auxhand.cli.main", "train", "--help"])
    monkeypatch.setattr(sys, "argv", ["auxhand", "train", "--help"])
    monkeypatch.setenv(cli.TUNABLES, "")  # so that what `console` sets is undone
    monkeypatch.delenv(cli.TUNABLES)
    with pytest.raises(Begun) as begun:
        cli.console()
    argv = [sys.executable, "-m", "auxhand.cli.main", "train", "--help"]
    assert begun.value.args == (sys.executable, argv, "glibc.malloc.hugetlb=1")
    with pytest.raises(SystemExit, match="0"):  # the variable is there now: --help of argparse
        cli.console()


def test_other_commands_keep_their_process(monkeypatch, capsys):
    monkeypatch.setattr(os, "execv", None)
    monkeypatch.setattr(sys, "argv", ["auxhand", "--version"])
    monkeypatch.delenv(cli.TUNABLES, raising=False)
    assert cli.console() == 0
    assert cli.TUNABLES not in os.environ


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("auxhand 0.")


def test_unknown_command(capsys):
    assert cli.main(["predcit"]) == 2
    err = capsys.readouterr().err
    assert "predcit" in err
    assert err.count("\n") == 1


def test_arguments_reach_the_command(run_with):
    seen = []
    assert run_with(lambda args: seen.append(args.count), "--count", "7") == 0
    assert seen == [7]


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_code_is_the_commands(run_with, returned, code):
    assert run_with(lambda args: returned) == code


@pytest.mark.parametrize("argv", [["--count", "many"], ["--cuont", "1"]])
def test_wrong_arguments_are_one_line(run_with, capsys, argv):
    assert run_with(lambda args: None, *argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("auxhand predict: error: ")
    assert captured.err.count("\n") == 1


def test_an_empty_argument_is_no_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for argv in (["adapt", "", "--out", "model"], ["predict", "a.jpg", "--out", ""]):
        assert cli.main(argv) == 2
        assert capsys.readouterr().err == (
            f"auxhand {argv[0]}: error: an argument is empty: leave it out, or set the variable "
            "it is of\n"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.jpg"), "directory: a.jpg"),
        (ValueError("first line\n  second line"), "first line second line"),
    ],
)
def test_mistakes_are_one_line(run_with, capsys, monkeypatch, error, says):
    monkeypatch.delenv("AUXHAND_TRACEBACK", raising=False)

    def body(args):
        raise error

    assert run_with(body) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    monkeypatch.setenv("AUXHAND_TRACEBACK", "1")
    with pytest.raises(type(error)):
        run_with(body)


def test_programming_errors_are_not_hidden(run_with):
    def body(args):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run_with(body)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption(monkeypatch, capsys, request, number, code):
    # Who is started in the background of a shell ignores Ctrl-C.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, outside))
    monkeypatch.setattr(
        cli.importlib,
        "import_module",
        lambda name: command(lambda args: os.kill(os.getpid(), number)),
    )
    before = signal.getsignal(number)
    assert cli.main(["evaluate"]) == code
    assert signal.getsignal(number) is before
    said = capsys.readouterr().err
    assert said == "auxhand evaluate: error: interrupted: nothing was written\n"


def test_an_interruption_says_what_is_kept(run_with, capsys):
    def body(args):
        raise KeyboardInterrupt("all of it")

    assert run_with(body) == 130
    assert capsys.readouterr().err == "auxhand predict: error: interrupted: all of it\n"


def test_command_help(run_with, capsys):
    with pytest.raises(SystemExit) as end:
        run_with(lambda args: None, "--help")
    assert end.value.code == 0
    assert "usage: auxhand predict" in capsys.readouterr().out


def test_no_help_imports_what_is_slow():
    code = """if True:
        import contextlib, sys
        from auxhand.cli.main import COMMANDS, main
        for argv in (["--help"], *([name, "--help"] for name in COMMANDS)):
            with contextlib.suppress(SystemExit):
                main(argv)
        print(sorted(sys.modules.keys() & {"torch", "numpy", "PIL", "jsonargparse", "tqdm"}))
    """
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("COMMAND", *cli.COMMANDS):
        assert f"usage: auxhand {name}" in out.stdout
    assert out.stdout.splitlines()[-1] == "[]"


def test_the_parts_of_a_command_name_it_in_their_usage(capsys):
    for command in ("data", "synthesize"):
        for part in ("", "check" if command == "data" else "walk"):
            with pytest.raises(SystemExit):
                cli.main([command, *part.split(), "--help"])
            assert f"usage: auxhand {command} {part}".rstrip() in capsys.readouterr().out


def test_a_command_without_its_part_costs_one_line(capsys):
    assert cli.main(["data"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "auxhand data: error: the following arguments are required: check|convert\n"
    )


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("| true", ""),
        ("> /dev/full", "auxhand: error: nothing more can be printed: No space left on device\n"),
        ("> /dev/full 2> /dev/full", ""),
    ],
)
@pytest.mark.parametrize("arguments", ["--help", "--version", "predict --help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nothing_is_printed_where_nobody_reads(end, says, arguments, unbuffered):
    command = f"{sys.executable} -m auxhand.cli.main {arguments} {end}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert done.returncode == 0
    assert done.stderr == says


def test_work_goes_on_where_nobody_reads(run_with, monkeypatch):
    """However much is printed, and whether at once or at the end."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        done = []
        assert run_with(lambda args: done.append(print("said\n" * 100_000))) == 0
        assert done == [None]


def test_what_a_terminal_has_no_code_for_is_printed_all_the_same(run_with, monkeypatch):
    told = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(told, "latin-1"))
    assert run_with(lambda args: print("caf\xe9 \u2603 \udce9")) == 0
    assert told.getvalue() == b"caf\xe9 \\u2603 \\udce9\n"


def test_closed_streams_end_no_work(run_with, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run_with(lambda args: sys.stdout.write("said") + sys.stderr.write("told") - 8) == 0


def test_a_pipe_that_breaks_is_no_mistake_in_the_command(run_with, capsys):
    def body(args):
        raise BrokenPipeError(32, "Broken pipe")

    assert run_with(body) == 1
    assert capsys.readouterr().err.startswith("auxhand predict: error: broken pipe: ")

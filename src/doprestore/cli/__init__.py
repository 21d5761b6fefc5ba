"""The command line: the only place with Click, tqdm, echo and exit codes. One short file a command."""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module

import click

from doprestore._version import __version__
from doprestore.cli.streams import guarded
from doprestore.errors import DoprestoreError, UsageError

# The subcommands by name: their module and their help line. The module is imported when the command runs or its --help is
# asked for.
COMMANDS = {
    "image": ("doprestore.cli.image", "Restore a damaged picture."),
    "corrupt": ("doprestore.cli.corrupt", "Damage a picture on purpose, to make test material."),
    "compare": ("doprestore.cli.compare", "Set the restoration beside other methods on one picture."),
    "reproduce": ("doprestore.cli.reproduce", "Run the paper's figures and say whether they agree."),
    "rpca": ("doprestore.cli.rpca", "Split a matrix with many wrong entries into low-rank + sparse."),
    "sense": ("doprestore.cli.sense", "Recover a low-rank matrix from linear measurements, some of them wrong."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[name][0]).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}; there are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """One line for a ticket; imports torch."""
    if not value or ctx.resilient_parsing:
        return
    import platform

    import torch

    from doprestore.cli.screen import count
    from doprestore.machine import choose_device, processor

    device = choose_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    python, threads = platform.python_version(), torch.get_num_threads()
    click.echo(
        f"doprestore {__version__}, Python {python}, torch {torch.__version__}, {device}: {name}, {count(threads, 'thread')}"
    )
    ctx.exit()


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Say what is installed.")
@click.pass_context
def cli(ctx: click.Context) -> int | None:
    """Repair pictures and matrices damaged by sparse, gross errors.

    No training data, no noise model, no rank, no tuning.

    \b
    Examples:
      doprestore image damaged.png restored.png
      doprestore rpca data.npy
      doprestore image --help
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        return 2
    return None


# How threads wait for each other, said before torch is imported: asleep, after a fraction of a millisecond. On a busy
# machine a round of the search on 256x256 took 4 s with two threads, and over 100 s where they wait busily, as is usual.
# The count: 3000 takes a seventh longer than 8000 to 100 000 for 512x512 on a free machine; beside two busy programs a
# round for 256x256 took at most 1.1 s with 3000, 2.2 with 8000 and 4.5 with 20 000, each run thrice
# (`GOMP_SPINCOUNT=3000 OMP_WAIT_POLICY=PASSIVE python tests/benchmarks/threads.py --cell 256 2`).
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "8000"}


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 and 4 see :mod:`doprestore.cli.matrices`, 5
    :mod:`doprestore.cli.pictures.doubts`, 130 interrupted, 143 terminated."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run the command line and return the exit code; every error is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file may have a name that the locale cannot spell
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    with guarded() as output:
        code = _run(args)
        output.flush()
        if output.error is None or code in (1, 2, 130, 143):
            return code
        # The reader of stdout went away (`| head`): not our failure.
        return 1 if isinstance(output.error, BrokenPipeError) else _fail(output.problem(), 1)


def _run(args: list[str] | None) -> int:
    try:
        words = sys.argv[1:] if args is None else args
        code = cli.main(words, prog_name="doprestore", standalone_mode=False, obj=shlex.join(["doprestore", *words]))
        return code if isinstance(code, int) else 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "doprestore"
        told = error.format_message().rstrip(".").replace("\n\t", " ")  # Click lists choices one a line
        return _fail(f"{told} (see: {command} --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 1)
    except UsageError as error:
        return _fail(str(error), 2)
    except DoprestoreError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", 130)
    except MemoryError:
        return _fail("out of memory; close other programs or give a smaller input", 1)
    except BrokenPipeError:  # of a result on stdout
        return 1


def _fail(message: str, code: int) -> int:
    click.echo(f"doprestore: error: {one_line(message)}", err=True)
    return code


def one_line(text: str) -> str:
    """``text`` with line breaks, terminal codes and undecodable bytes escaped: file names are safe to print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

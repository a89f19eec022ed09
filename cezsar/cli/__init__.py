"""The command line: parse, call one library function, print; the only code that prints results or exits."""

from __future__ import annotations

import errno
import io
import os
import sys
from importlib import import_module
from pathlib import Path

import click

from cezsar import __version__
from cezsar.errors import CezsarError, SettingsError
from cezsar.paths import readable

_COMMANDS = (
    "index", "watch", "query", "classify", "serve", "mcp", "models", "train", "benchmark", "stats", "remove",
    "verify", "rebuild", "reembed", "calibrate", "backup", "restore", "doctor", "db",
)  # fmt: skip

# packages that a light installation leaves out (requirements/light.txt)
_LEFT_OUT = ("torch", "torchvision", "transformers", "timm", "accelerate", "sklearn", "matplotlib")
_NO_MEMORY = "there is not enough memory: close other programs, or raise this process's limit (ulimit -v)."
# what the loader and threads say where the system gives them none
_TOLD = ("failed to map segment from shared object", "can't start new thread")


class _Commands(click.Group):
    """Commands in modules of their own, imported when they are needed; CezsarErrors caught once, here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = import_module(f"cezsar.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
            _flush()
            return result
        except BrokenPipeError:  # whoever read the output has had enough, as in `cezsar query ... | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except SettingsError as error:
            raise click.UsageError(readable(str(error)), self._of_command(ctx)) from None
        except CezsarError as error:
            click.echo(f"cezsar: {readable(str(error))}", err=True)
            ctx.exit(1)
        except (MemoryError, OSError, ImportError, RuntimeError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name in _LEFT_OUT:
                click.echo(
                    f"cezsar: `cezsar {ctx.invoked_subcommand}` needs {error.name}, which a light installation leaves "
                    "out: `pip install cezsar` brings it.",
                    err=True,
                )
                ctx.exit(1)
            if not _is_out_of_memory(error):
                raise
            click.echo(f"cezsar: {_NO_MEMORY}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("cezsar: interrupted; committed work stays.", err=True)
            ctx.exit(130)

    def _of_command(self, ctx: click.Context) -> click.Context:
        """A context whose usage is that of the command that was asked for."""
        name = ctx.invoked_subcommand
        command = None if name is None else self.get_command(ctx, name)
        return ctx if command is None else click.Context(command, ctx, info_name=name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="cezsar", message="cezsar %(version)s")
def cli() -> None:
    """Search your own videos by what happens in them.

    \b
    cezsar index ~/Movies                          look at every video once
    cezsar query "person playing violin"           find the moments that show it
    cezsar classify ~/Movies --labels cooking,surfing

    Nothing leaves this machine, except to a database or a cluster that you name. `cezsar COMMAND --help` says more.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise CezsarError("The current folder has been deleted: change to another one.") from None


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this, or what it came from, says that the system gave no memory: to Python, or to a library."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, (ImportError, OSError, RuntimeError)) and any(said in str(error) for said in _TOLD):
            return True
        error = error.__cause__ or error.__context__
    return False


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def main() -> None:
    """The entry point of `cezsar` and `python -m cezsar`."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that stdout's encoding lacks is shown, and no error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            cli()
        finally:
            _flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again at its end
        click.echo(f"cezsar: the output cannot be written: {error.strerror}", err=True)
        sys.exit(1)

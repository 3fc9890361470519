"""A pipeline as a program: flags in, exit code out, errors in one line."""

import logging
import os
import re
import signal
import sys
import traceback
from argparse import Action, ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pydantic_settings import BaseSettings, CliSettingsSource

from trackml.backends import program_settings
from trackml.errors import Terminated, TrackmlError, UsageError
from trackml.params import Params, allowed, meaning
from trackml.process.garbage import collect_rarely, exit_without_collection
from trackml.process.signals import ignore_end_signals, stop_requests, stop_with_parent
from trackml.process.streams import accept_all_output
from trackml.process.system import ensure_user
from trackml.tasks import EntryPoint

if TYPE_CHECKING:
    from trackml.console import View

P = TypeVar("P", bound=Params)

DEBUG_HELP = "show the traceback of an error"


def command_line(
    main: Callable[[P, Any], Any], params: type[P], view: "View | None" = None
) -> NoReturn:
    """Run a pipeline's `main` on this process's flags; exit with a code of the contract.

    Called as a function, a pipeline prints nothing: progress and result are shown here.

    Args:
        main: takes the parameters, and the callbacks of the view.
        view: of `trackml.console`; TRAINING unless given.
    """
    flags, module = sys.argv[1:], sys.modules[main.__module__]
    task = getattr(module, "TASK", None)
    entry = EntryPoint(_name_of(module), main, params, task=task, view=view)
    run_program(lambda: run_entry_point(entry, flags), flags)


def _name_of(module: ModuleType) -> str:
    """The name of a pipeline's module, or its file, as `trackml run` takes it."""
    spec = module.__spec__
    if spec and spec.parent and spec.parent.split(".")[-1] == "pipelines":
        return spec.name.rpartition(".")[2]
    return str(module.__file__ or module.__name__)


def run_entry_point(entry: EntryPoint, flags: Sequence[str], program: str | None = None) -> None:
    """Run an entry point on flags, and show a person its progress and its result.

    Args:
        program: what its --help calls it.

    Raises:
        UsageError: as `parse_flags` has it.
    """
    if "MLFLOW_RUN_ID" in os.environ:
        stop_with_parent()
    about = entry.main.__doc__
    given = parse_flags(entry.params, flags, about, program=program, preset=entry.preset)
    collect_rarely()
    from trackml.console import run_shown, show_result

    show_result(entry, run_shown(entry, given, shows_facts=True), given)


def run_program(program: Callable[[], object], flags: Sequence[str]) -> NoReturn:
    """Run a program, and end this process with its exit code."""
    code = exit_code(program, flags)
    ignore_end_signals()
    exit_without_collection()
    raise SystemExit(code)


def exit_code(program: Callable[[], object], flags: Sequence[str] = ()) -> int:
    """Run a program to its end: 0 done, 1 failed, 2 bad usage, 130 interrupted, 143 terminated.

    Errors go to stderr in one line each; with --debug among `flags`, after their traceback. Whether
    what is printed can be written has no influence.
    """
    accept_all_output()
    _show_log()
    with stop_requests():
        try:
            ensure_user()
            with program_settings():
                program()
        except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001  # the last resort
            if _wants_debug(flags):
                traceback.print_exc()
            message, code = _outcome(error)
            print("error:", " ".join(message.split()), file=sys.stderr)
            return code
    return 0


def _wants_debug(flags: Sequence[str]) -> bool:
    following = dict(pairwise([*flags, ""]))
    return "--debug=true" in flags or following.get("--debug", "false") != "false"


def _outcome(error: BaseException) -> tuple[str, int]:
    """An error as one line for people, and its exit code."""
    match error:
        case TrackmlError():
            return str(error), error.exit_code
        case KeyboardInterrupt():
            return "interrupted", 128 + signal.SIGINT
        case Terminated():
            by = f" ({error})" if str(error) else ""
            return f"terminated{by}", 128 + signal.SIGTERM
    return f"{type(error).__name__}: {error} (--debug shows the traceback)", 1


def parse_flags(
    params: type[P],
    flags: Sequence[str],
    description: str | None = None,
    *,
    program: str | None = None,
    preset: Mapping[str, Any] = {},
) -> P:
    """Read flags such as `--epochs 5 --augment`; a bare flag of a true-or-false field means true.

    Args:
        program: its name in the help. preset: values of flags that are not given.

    Raises:
        UsageError: an unknown flag, a missing value, or a value that is not allowed.
        SystemExit: after --help was shown.
    """

    # Declares the flags and their help. Values come from the command line alone, never from the
    # environment, and are validated once, by the pipeline's own class.
    class Flags(BaseSettings, params):  # type: ignore[misc, valid-type]  # params is a variable
        pass

    for name, field in Flags.flags().items():
        field.description = f"{meaning(field)} [{allowed(field)}]"
        field.default = preset.get(name, field.default)
    parser = Parser(prog=program, description=description)
    # Here for --help and to refuse other values; `exit_code` looks for it itself.
    parser.add_argument(
        "--debug", nargs="?", const="true", choices=["true", "false"], help=DEBUG_HELP
    )
    source = CliSettingsSource[ArgumentParser](
        Flags,
        root_parser=parser,
        add_argument_method=Parser.add_argument,
        cli_parse_args=list(flags),
    )
    return params.parse({**preset, **source()})


class Parser(ArgumentParser):
    """argparse with one-line errors, and true-or-false flags whose value may be left out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        # So that -1e-3 is a value that is out of range, and not a flag, before Python 3.13 too.
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)")

    def add_argument(self, *names: Any, **options: Any) -> Action:
        if options.get("metavar") == "bool":
            words = options["help"].replace(": True)", ": true)").replace(": False)", ": false)")
            options |= {"nargs": "?", "const": "true", "help": words}
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown == message:
            raise UsageError(message.removeprefix("argument "))
        flag = unknown.split()[0].partition("=")[0]
        if not flag.startswith("-"):
            raise UsageError(f"{flag}: not expected here; parameters are given as --name value")
        near = get_close_matches(flag, self._option_string_actions, n=1)
        hint = f"did you mean {near[0]}?" if near else "--help lists them"
        raise UsageError(f"{flag}: there is no such flag; {hint}")


def _show_log() -> None:
    """Print what trackml itself logs, such as a repaired file of the cache, to stderr."""
    log = logging.getLogger("trackml")
    if not log.handlers:
        log.addHandler(_ToStderr())
        log.setLevel(logging.INFO)


class _ToStderr(logging.Handler):
    """Unlike logging's own handler, it asks each time: a progress bar stands in for stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)

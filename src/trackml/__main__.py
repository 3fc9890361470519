"""`python -m trackml`: what is not a pipeline."""

import sys
from argparse import Namespace
from collections.abc import Callable

from trackml.cli import DEBUG_HELP, Parser, run_program
from trackml.data.datasets import CATALOG


def main() -> None:
    """Run the command that the flags of this process name."""
    flags = sys.argv[1:]

    def program() -> None:
        given = _parse(flags)
        given.run_command(given)

    run_program(program, flags)


def _parse(flags: list[str]) -> Namespace:
    common = Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help=DEBUG_HELP)
    parser = Parser(prog="python -m trackml", description="Tools around the pipelines.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    def add(name: str, run_command: Callable[[Namespace], None], about: str) -> Parser:
        command: Parser = commands.add_parser(name, help=about, description=about, parents=[common])
        command.set_defaults(run_command=run_command)
        return command

    data = add("data", _data, "fetch the datasets, and show what the cache holds")
    data.add_argument("dataset", nargs="*", help=f"any of {', '.join(CATALOG)}; default: all")
    data.add_argument("--list", action="store_true", help="show only, fetch nothing")

    promotion = add("promote", _promote, "make the model of a run the champion of its task")
    promotion.add_argument("task", help="the registered model, such as mnist")
    promotion.add_argument("--run", required=True, metavar="RUN_ID", help="whose model it is")
    alias = "an alias to give instead of champion; may be repeated"
    promotion.add_argument("--alias", action="append", default=[], help=alias)

    killed = "those whose process was killed are marked KILLED"
    add("runs", _runs, f"list the runs that have not finished; {killed}")
    add("sync", _sync, "upload runs that a tracking server did not accept yet")
    return parser.parse_args(flags)


def _data(given: Namespace) -> None:
    from trackml.data.listing import show_data

    show_data(given.dataset, fetch=not given.list)


def _promote(given: Namespace) -> None:
    from trackml.tracking.registry import promote

    promotion = promote(given.task, given.run, given.alias)
    for alias, before in promotion.before.items():
        was = f"before, version {before}" if before else "before, none"
        print(f"{promotion.task}@{alias} is version {promotion.version} ({was})")


def _runs(_given: Namespace) -> None:
    from trackml.console import show_runs

    show_runs()


def _sync(_given: Namespace) -> None:
    from trackml.console import show_sync

    show_sync()


if __name__ == "__main__":
    main()

"""`python -m trackml`: what is not a pipeline."""

import sys
from argparse import Namespace

from trackml.cli import DEBUG_HELP, Parser, exit_code
from trackml.data.catalog import CATALOG
from trackml.data.listing import show_data


def main() -> None:
    """Run the command that the flags of this process name."""
    flags = sys.argv[1:]
    raise SystemExit(exit_code(lambda: _run(_parse(flags)), flags))


def _parse(flags: list[str]) -> Namespace:
    common = Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help=DEBUG_HELP)
    parser = Parser(prog="python -m trackml", description="Tools around the pipelines.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    about = "fetch the datasets, and show what the cache holds"
    data = commands.add_parser("data", help=about, description=about, parents=[common])
    data.add_argument("dataset", nargs="*", help=f"any of {', '.join(CATALOG)}; default: all")
    data.add_argument("--list", action="store_true", help="show only, fetch nothing")
    data.set_defaults(run_command=lambda given: show_data(given.dataset, fetch=not given.list))

    about = "make the model of a run the champion of its task"
    promotion = commands.add_parser("promote", help=about, description=about, parents=[common])
    promotion.add_argument("task", help="the registered model, such as mnist")
    promotion.add_argument("--run", required=True, metavar="RUN_ID", help="whose model it is")
    promotion.add_argument(
        "--alias",
        action="append",
        default=[],
        help="an alias to give instead of champion; may be repeated",
    )
    promotion.set_defaults(run_command=_promote)

    about = "list the runs that have not finished; those whose process was killed are marked KILLED"
    unfinished = commands.add_parser("runs", help=about, description=about, parents=[common])
    unfinished.set_defaults(run_command=lambda _given: _show_runs())

    about = "deliver what runs owe to a tracking server that was away"
    owed = commands.add_parser("sync", help=about, description=about, parents=[common])
    owed.set_defaults(run_command=lambda _given: _sync())

    return parser.parse_args(flags)


def _sync() -> None:
    from trackml.console.runs import show_sync

    show_sync()


def _show_runs() -> None:
    from trackml.console.runs import show_runs

    show_runs()


def _promote(given: Namespace) -> None:
    from trackml.tracking.promotion import promote

    promotion = promote(given.task, given.run, given.alias)
    for alias, before in promotion.before.items():
        was = f"before, version {before}" if before else "before, none"
        print(f"{promotion.task}@{alias} is version {promotion.version} ({was})")


def _run(given: Namespace) -> None:
    given.run_command(given)


if __name__ == "__main__":
    main()

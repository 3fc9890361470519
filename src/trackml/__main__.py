"""`python -m trackml`: what is not a pipeline."""

import sys
from argparse import Namespace

from trackml.cli import Parser, exit_code
from trackml.data.catalog import CATALOG
from trackml.data.listing import show_data


def main() -> None:
    """Run the command that the flags of this process name."""
    flags = sys.argv[1:]
    raise SystemExit(exit_code(lambda: _run(_parse(flags)), flags))


def _parse(flags: list[str]) -> Namespace:
    parser = Parser(prog="python -m trackml", description="Tools around the pipelines.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    data = commands.add_parser("data", help="fetch the datasets, and show what the cache holds")
    data.add_argument("dataset", nargs="*", help=f"any of {', '.join(CATALOG)}; default: all")
    data.add_argument("--list", metavar="bool", help="show only, fetch nothing")
    data.set_defaults(run=lambda given: show_data(given.dataset, fetch=given.list != "true"))

    return parser.parse_args(flags)


def _run(given: Namespace) -> None:
    given.run(given)


if __name__ == "__main__":
    main()

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
    data.set_defaults(run=lambda given: show_data(given.dataset, fetch=not given.list))

    return parser.parse_args(flags)


def _run(given: Namespace) -> None:
    given.run(given)


if __name__ == "__main__":
    main()

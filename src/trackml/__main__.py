"""The program `trackml`, also `python -m trackml`: its commands and their flags."""

import re
import sys
from argparse import REMAINDER, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from trackml.cli import DEBUG_HELP, Parser, run_entry_point, run_program
from trackml.data.datasets import CATALOG
from trackml.params import Params
from trackml.tasks import entry_point, find_entry_points

_PAIR = re.compile(r"[A-Za-z_]\w*=")


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
    parser = Parser(prog=_program(), description="Train, compare and use models, with MLflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    def add(name: str, run_command: Callable[[Namespace], None], about: str) -> Parser:
        command: Parser = commands.add_parser(name, help=about, description=about, parents=[common])
        command.set_defaults(run_command=run_command)
        return command

    run = add("run", _run, "run an entry point, or a pipeline of your own; alone, list them")
    run.usage = "%(prog)s [--debug] [PIPELINE [name=value ...]]"
    run.add_argument("pipeline", nargs="?", help="a name, or the path of a pipeline's file")
    values = "values, as name=value or --name value; --help lists the parameters"
    run.add_argument("parameters", nargs=REMAINDER, help=values)

    compare = add("compare", _compare, "rank the configurations of a task by their finished runs")
    compare.add_argument("task", help="such as mnist")
    compare.add_argument("parameters", nargs=REMAINDER, help="of `run compare`: min_runs=3")

    prediction = add("predict", _predict, "predict for a file with a registered model, as CSV")
    model = "a task such as mnist, task@alias, or a models:/ address"
    prediction.add_argument("model", metavar="MODEL", help=model)
    file = "an image, a folder of images, or a table: NPY, CSV or Parquet"
    prediction.add_argument("file", metavar="FILE", type=Path, help=file)
    prediction.add_argument("--separator", default=",", help=r"of a CSV file: , or \t")
    prediction.add_argument("--decimal", default=".", help="of a CSV file: . or ,")
    prediction.add_argument("--output", type=Path, metavar="FILE.csv", help="default: print it")
    resize = "convert images to the size and the colors that the model takes"
    prediction.add_argument(
        "--resize", metavar="bool", choices=["true", "false"], default="false", help=resize
    )

    ui = add("ui", _ui, "show the store in a browser, until Ctrl-C")
    port = "default: 5000, or the next one that is free"
    ui.add_argument("--port", type=int, metavar="PORT", help=port)

    data = add("data", _data, "fetch the datasets, and show what the cache holds")
    data.add_argument("dataset", nargs="*", help=f"any of {', '.join(CATALOG)}; default: all")
    data.add_argument("--list", action="store_true", help="show only, fetch nothing")

    promotion = add("promote", _promote, "make the model of a run the champion of its task")
    promotion.add_argument("task", help="the registered model, such as mnist")
    promotion.add_argument("--run", required=True, metavar="RUN_ID", help="whose model it is")
    alias = "an alias to give instead of champion; may be repeated"
    promotion.add_argument("--alias", action="append", default=[], help=alias)

    killed = "those whose process was killed are marked KILLED"
    runs = add("runs", _runs, f"list the runs that have not finished; {killed}")
    surely_dead = (
        "release this run: its process is certainly dead, on a machine that is not visible"
    )
    runs.add_argument("--release", metavar="RUN_ID", help=surely_dead)
    add("sync", _sync, "upload runs that a tracking server did not accept yet")

    about = "let ./mlflow.db find its artifacts after its folder was renamed, moved or copied"
    relocation = add("relocate", _relocate, about)
    old = "the folder of artifacts that the database names; by default it is found"
    relocation.add_argument("--from", dest="old", metavar="FOLDER", help=old)
    new = "the folder that they are in now; default: mlruns beside the database"
    relocation.add_argument("--to", dest="new", metavar="FOLDER", help=new)
    missing = "go on although some artifacts are not there; they stay lost"
    relocation.add_argument("--allow_missing", action="store_true", help=missing)
    return parser.parse_args(flags)


def _program() -> str:
    return "python -m trackml" if Path(sys.argv[0]).name == "__main__.py" else "trackml"


def _run(given: Namespace) -> None:
    if given.pipeline is None:
        from trackml.console import show_entry_points

        show_entry_points(find_entry_points())
        return
    _run_pipeline(given.pipeline, given.parameters, f"{_program()} run {given.pipeline}")


def _compare(given: Namespace) -> None:
    parameters = [f"task={given.task}", *given.parameters]
    _run_pipeline("compare", parameters, f"{_program()} compare TASK")


def _run_pipeline(pipeline: str, parameters: Sequence[str], program: str) -> None:
    entry = entry_point(pipeline)
    run_entry_point(entry, _as_flags(entry.params, parameters), program)


def _as_flags(params: type[Params], words: Sequence[str]) -> list[str]:
    """The words with --name=value for name=value, unless that is the value of a flag before it."""
    flags = params.flags().items()
    with_value = {f"--{name}" for name, field in flags if field.annotation is not bool}
    before = ["", *words]
    return [
        f"--{word}" if _PAIR.match(word) and flag not in with_value else word
        for flag, word in zip(before, words, strict=False)
    ]


def _predict(given: Namespace) -> None:
    from trackml.commands.predict import show_predictions

    show_predictions(
        given.model,
        given.file,
        given.output,
        resize=given.resize == "true",
        separator=given.separator.replace(r"\t", "\t"),
        decimal=given.decimal,
    )


def _ui(given: Namespace) -> None:
    from trackml.commands.ui import serve_ui

    serve_ui(given.port)


def _data(given: Namespace) -> None:
    from trackml.data.listing import show_data

    show_data(given.dataset, fetch=not given.list)


def _promote(given: Namespace) -> None:
    from trackml.tracking.registry import promote

    promotion = promote(given.task, given.run, given.alias)
    for alias, before in promotion.before.items():
        was = f"before, version {before}" if before else "before, none"
        print(f"{promotion.task}@{alias} is version {promotion.version} ({was})")


def _runs(given: Namespace) -> None:
    from trackml.commands.runs import show_runs

    show_runs(given.release)


def _sync(_given: Namespace) -> None:
    from trackml.commands.runs import show_sync

    show_sync()


def _relocate(given: Namespace) -> None:
    from trackml.tracking.relocate import relocate_store

    relocation = relocate_store(given.old, given.new, allow_missing=given.allow_missing)
    for move in relocation.moves:
        print(f"artifacts: {move.new} (before: {move.old})")
    places, outboxes = relocation.places, relocation.outboxes
    print(
        f"changed {places} paths in the database, and {outboxes} unfinished runs on this machine"
        if places or outboxes
        else "nothing to do: the database names no artifacts of another folder"
    )
    for run_id in relocation.active:
        again = f"`python -m trackml relocate --from {relocation.moves[0].old}`"
        print(f"left alone: run {run_id}, as a process is at work on it; after its end, {again}")


if __name__ == "__main__":
    main()

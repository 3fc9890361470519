"""Write MLproject and docs/reference.md from the parameters of pipelines/: `make generated`."""

import json
from pathlib import Path
from textwrap import fill
from typing import get_args

from pydantic.fields import FieldInfo

from trackml.comparison.logged_params import with_effect
from trackml.params import allowed, conditions, meaning
from trackml.tasks import EntryPoint, find_entry_points

ROOT = Path(__file__).parents[1]
MLPROJECT_HEAD = """\
# Generated from the parameters of pipelines/ by `make generated`: change them there.
#
# `mlflow run . -e fashion_aug` builds the environment of python_env.yaml and runs in it.
# With conda instead: conda env create -f conda.yaml, activate it, add --env-manager local.
name: trackml

python_env: python_env.yaml

# MLflow has one type of number, float; the pipelines check their values. It logs what is declared
# here. So a parameter whose default or effect depends on others is not, nor is one that changes no
# result, such as resume: -P NAME=VALUE sets it too.
entry_points:
"""
REFERENCE_HEAD = """\
# Entry points and their parameters

Generated from the parameters of `pipelines/` by `make generated`.
`mlflow run . -e NAME -P parameter=value` runs one in a checkout, `trackml run NAME parameter=value`
where trackml is installed, with `--help` for the same list. Directly, in an environment with
`requirements.txt`: `PYTHONPATH=.:src python -m pipelines.MODULE --parameter value`.
"""


def mlproject() -> str:
    """The text of MLproject."""
    return MLPROJECT_HEAD + "".join(_declare(entry) for entry in find_entry_points().values())


def _free(entry: EntryPoint) -> dict[str, FieldInfo]:
    """The parameters that a user can choose."""
    return {
        name: field
        for name, field in entry.params.flags().items()
        if name not in entry.preset and len(get_args(field.annotation)) != 1
    }


def _declare(entry: EntryPoint) -> str:
    given, resolved = entry.params.parse({}).as_text(), entry.params.parse({}).resolved().as_text()
    fields = {
        name: field
        for name, field in _free(entry).items()
        if given[name] == resolved[name] and name in with_effect(given) and not conditions(field)
    }
    numbers = {name for name, field in fields.items() if field.annotation in (int, float)}
    lines = [f"  {entry.name}:", "    parameters:"]
    for name in fields:
        kind, default = (
            ("float", given[name]) if name in numbers else ("string", json.dumps(given[name]))
        )
        lines.append(f"      {name}: {{type: {kind}, default: {default}}}")
    flags = [f"--{name} {json.dumps(value)}" for name, value in entry.preset.items()]
    flags += [f"--{name} {{{name}}}" for name in fields]
    command = f"PYTHONPATH=.:src python -m {entry.module.__name__} " + " ".join(flags)
    # A flag and its value stay on one line.
    wrapped = fill(command.replace(" {", "\0{"), 94, break_long_words=False, break_on_hyphens=False)
    lines += [
        "    command: >-",
        *(f"      {line}" for line in wrapped.replace("\0", " ").split("\n")),
    ]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The text of docs/reference.md."""
    return REFERENCE_HEAD + "".join(_describe(entry) for entry in find_entry_points().values())


def _describe(entry: EntryPoint) -> str:
    params = entry.params.parse({}).as_text()
    module = entry.module.__name__.rpartition(".")[2]
    about = [entry.main.__doc__ or "", "", f"Module: [{module}](../pipelines/{module}.py)."]
    if entry.preset:
        values = ", ".join(f"`{name}` {json.dumps(value)}" for name, value in entry.preset.items())
        about[-1] += f" It sets {values}."
    rows = [
        f"| `{name}` | {params[name]} | {_cell(allowed(field))} | {_cell(meaning(field))} |"
        for name, field in _free(entry).items()
    ]
    table = ["| parameter | default | accepts | meaning |", "|---|---|---|---|", *rows]
    return "\n".join(["", f"## {entry.name}", "", *about, "", *table, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    (ROOT / "MLproject").write_text(mlproject(), encoding="utf-8")
    (ROOT / "docs" / "reference.md").write_text(reference(), encoding="utf-8")

"""Descriptions in MLflow: a short card in Markdown, which a person may edit and then owns."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trackml.data import ImageData, TableData
from trackml.data.canvases import Data
from trackml.ui.links import MAIN_SCORES

NOTE_TAG = "mlflow.note.content"  # a description, of experiments, runs and logged models
COMMAND_TAG, INPUT_TAG, OUTPUT_TAG = "trackml.command", "trackml.input", "trackml.output"
_SIGNATURE = re.compile(r"(?s)(?P<text>.*)\n\n<!-- trackml (?P<sum>[0-9a-f]{12}) -->\s*")
_MAX_COLUMNS = 12
_FIGURES = ("confusion_matrix", "predicted_vs_true", "detections", "learning_curves")


def interface_tags(data: Data) -> dict[str, str]:
    """What a model of this data takes and gives, in words."""
    match data:
        case TableData():
            names = ", ".join(data.columns[:_MAX_COLUMNS])
            more = len(data.columns) - _MAX_COLUMNS
            given = f"columns {names}{f' and {more} more' if more > 0 else ''}"
        case ImageData():
            sides = ", ".join(map(str, data.train.images.shape[1:]))
            given = f"uint8 (N, {sides}), raw pixels"
        case _:
            given = "uint8 (N, height, width), raw pixels"
    match data:
        case TableData(classes=()):
            answer = f"float32 (N, 1), {data.target_name}" + (f", {data.unit}" if data.unit else "")
        case TableData() | ImageData():
            answer = f"float32 (N, {len(data.classes)}), class probabilities"
        case _:
            answer = "a table, a row per object: image, x1, y1, x2, y2, label, score"
    return {INPUT_TAG: given, OUTPUT_TAG: answer}


def sign(text: str) -> str:
    """A description with a checksum at its end, which no page shows.

    >>> is_own(sign("A card")), is_own(sign("A card").replace("card", "map")), is_own("")
    (True, False, True)
    """
    return f"{text}\n\n<!-- trackml {_sum_of(text)} -->"


def is_own(description: str | None) -> bool:
    """True if a description may be replaced: there is none, or it is as `sign` has written it."""
    if not description:
        return True
    match = _SIGNATURE.fullmatch(description)
    return match is not None and match["sum"] == _sum_of(match["text"])


def _sum_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_card(
    tags: Mapping[str, str],
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    source: str,
    *,
    figures: Sequence[str] = (),
    load: str = "",
    headline: str = "",
) -> str:
    """The card of a run, of its model or of its version, from what the run has logged.

    Args:
        source: of the data, as MLflow has it: JSON, or a text.
        figures: paths of artifacts, of which the main one is named.
        load: the address of the model; "" while there is none.
        headline: instead of the task and the architecture.
    """
    task, architecture = tags.get("trackml.task", ""), tags.get("trackml.architecture", "")
    splits = {
        verb: _count(params.get(f"{split}_samples"))
        for verb, split in (("train", "train"), ("validate", "validation"), ("test", "test"))
    }
    lines = [
        headline or f"**{task}: {architecture}** ({tags.get('trackml.framework')})",
        "",
        f"- Scores: {scores_line(metrics, splits['test']) or 'none yet'}",
        f"- Rows: {', '.join(f'{rows} to {verb}' for verb, rows in splits.items())}",
        f"- Source: {_source(source)}",
    ]
    if INPUT_TAG in tags:
        lines += [f"- Input: {tags[INPUT_TAG]}", f"- Output: {tags[OUTPUT_TAG]}"]
    named = [path for name in _FIGURES for path in figures if Path(path).stem == name]
    if named:
        lines.append(f"- Main figure: `{named[0]}`")
    if load:
        lines += ["", *_code("import mlflow", f'model = mlflow.pyfunc.load_model("{load}")')]
    if command := tags.get(COMMAND_TAG):
        lines += ["", "Run it again:", "", *_code(command)]
    return sign("\n".join(lines))


def experiment_card(tags: Mapping[str, str], params: Mapping[str, str], source: str) -> str:
    """The card of the experiment of a dataset's runs."""
    task = tags["trackml.task"]
    test = _count(params.get("test_samples"))
    return sign(
        f"Models of {task}, each run scored once on the same {test} test rows.\n\n"
        f"- Data: {_source(source)}\n"
        f"- Input: {tags.get(INPUT_TAG)}\n"
        f"- Output: {tags.get(OUTPUT_TAG)}\n"
        f"- The best model so far: `models:/{task}@champion`, if it is registered\n\n"
        "Choose a model by its validation score; the test score says what to expect of it."
    )


def registered_card(tags: Mapping[str, str], params: Mapping[str, str]) -> str:
    """The card of a registered model, the same for all its versions."""
    task = tags["trackml.task"]
    load = f'model = mlflow.pyfunc.load_model("models:/{task}@champion")'
    return sign(
        f"Models of **{task}**, with one signature. The alias `champion` is the one with the best "
        "validation score; an alias with the name of an architecture is its latest version.\n\n"
        f"- Input: {tags.get(INPUT_TAG)}\n"
        f"- Output: {tags.get(OUTPUT_TAG)}\n"
        f"- Test rows: {_count(params.get('test_samples'))}\n\n"
        + "\n".join(_code("import mlflow", load))
    )


def scores_line(metrics: Mapping[str, float], rows: str) -> str:
    """The scores that people compare, with the rows that they were reached on; "" without any."""
    names = ("accuracy", "map", *MAIN_SCORES["mae"], "r2", "loss")
    tests = [f"{n} {metrics[f'test_{n}']:.4f}" for n in names if f"test_{n}" in metrics]
    best = [f"{n} {metrics[f'best_val_{n}']:.4f}" for n in names if f"best_val_{n}" in metrics]
    parts = [f"test {', '.join(tests)} (n = {rows})"] if tests else []
    return "; ".join(parts + ([f"best validation {', '.join(best)}"] if best else []))


def _code(*lines: str) -> list[str]:
    return ["```", *lines, "```"]


def _count(text: str | None) -> str:
    return f"{int(text):,}" if text and text.isdigit() else "?"


def _source(source: str) -> str:
    try:
        return str(json.loads(source)["source"])
    except (ValueError, KeyError, TypeError):
        return source or "?"

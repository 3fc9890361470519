"""The full recipe of an entry point, for who runs it with fewer epochs: its cost, its score."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trackml.comparison.logged_params import with_effect
from trackml.display.lines import duration
from trackml.params import Params, TrainingParams
from trackml.progress import Progress
from trackml.tasks import EntryPoint, is_in_checkout, make_command, run_command


@dataclass(frozen=True)
class Recipe:
    """The same run with all epochs.

    Attributes:
        score: what it reaches; "" if that is unknown, as for other parameters than the defaults.
    """

    epochs: int
    command: str
    score: str


def name_of(entry: EntryPoint, params: Params) -> str:
    """The name of an entry point, or that of the same pipeline whose preset was given by hand."""
    values = params.model_dump(by_alias=True)
    others = entry.task.entry_points if entry.task else {}
    names = [name for name, preset in others.items() if preset.items() <= values.items()]
    return max(names, key=lambda name: (len(others[name]), name == entry.name), default=entry.name)


def full_recipe(entry: EntryPoint, params: Params) -> Recipe | None:
    """The recipe whose epochs are more than those of the parameters; None if there is none."""
    if not isinstance(params, TrainingParams):
        return None
    name, values, texts = name_of(entry, params), params.model_dump(by_alias=True), params.as_text()
    others = entry.task.entry_points if entry.task else {}
    preset = others.get(name, entry.preset)
    own = {flag: field.default for flag, field in entry.params.flags().items()}
    defaults = {**own, **preset}
    if not (isinstance(defaults["epochs"], int) and params.epochs < defaults["epochs"]):
        return None
    changed = {flag: text for flag, text in texts.items() if values[flag] != defaults[flag]}
    for own_of_this_run in ("epochs", "resume"):
        changed.pop(own_of_this_run, None)
    is_default = not with_effect(changed).keys() - {"seed", "device", "precision"}
    score = documented_score(entry, name) if is_default else ""
    epochs = defaults["epochs"]
    if is_in_checkout():
        return Recipe(epochs, make_command(name, {"epochs": str(epochs)} | changed), score)
    return Recipe(epochs, run_command(name, changed), score)


def documented_score(entry: EntryPoint, name: str) -> str:
    """The score of an entry point's own parameters, from the text on top of its module; or "".

    >>> from trackml.tasks import entry_point
    >>> documented_score(entry_point("fashion"), "fashion")[:15]
    'test accuracy 0'
    """
    line = rf"^mlflow run \.(?: -e {re.escape(name)})? +#[^;]*; +(.+)$"
    own = re.search(line, entry.module.__doc__ or "", re.MULTILINE)
    return own[1] if own else ""


def about_recipe(
    recipe: Recipe, progress: Progress, epoch: int, metrics: Mapping[str, float]
) -> None:
    """A callback: after the first epoch, tell what all of them cost on this machine."""
    if epoch != 1:
        return
    cost = duration(recipe.epochs * metrics["epoch_seconds"])
    reached = f", and reach {recipe.score}" if recipe.score else ""
    progress.fact("recipe", f"all {recipe.epochs} epochs take about {cost} here{reached}:")
    progress.command(recipe.command)

"""The full recipe of an entry point, for who runs it with fewer epochs: its cost, its score."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trackml.display.lines import duration
from trackml.progress import Progress
from trackml.tasks import EntryPoint, is_in_checkout, make_command
from trackml.ui.names import Request


@dataclass(frozen=True)
class Recipe:
    """The same run with all epochs.

    Attributes:
        score: what it reaches; "" if that is unknown, as for other parameters than the defaults.
    """

    epochs: int
    command: str
    score: str


def full_recipe(entry: EntryPoint, request: Request, epochs: int) -> Recipe | None:
    """The recipe whose epochs are more than those that were asked for; None if there is none."""
    own = request.defaults.get("epochs")
    if not (isinstance(own, int) and epochs < own):
        return None
    changes = {flag: text for flag, text in request.changes.items() if flag != "epochs"}
    is_default = not changes.keys() - {"seed", "device", "precision"}
    score = documented_score(entry, request.name) if is_default else ""
    if is_in_checkout():
        return Recipe(own, make_command(request.name, {"epochs": str(own)} | changes), score)
    return Recipe(own, replace(request, changes=changes).command, score)


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

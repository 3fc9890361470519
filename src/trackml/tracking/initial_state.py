"""What is known of a run before it begins: its name, parameters, tags, and dataset."""

import colorsys
import json
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.tracking.context.registry import resolve_tags

import trackml
from trackml.comparison.champion import ALIASES_TAG
from trackml.comparison.logged_params import with_effect
from trackml.data.canvases import Data
from trackml.metrics import metric_tags
from trackml.model_files.signatures import dataset_facts
from trackml.params import Params, RunParams
from trackml.process.system import this_process
from trackml.tasks import Task, source_sha256
from trackml.tracking import server
from trackml.tracking.lease import HEARTBEAT_TAG, PROCESS_TAG
from trackml.tracking.outbox import RunState, now_ms
from trackml.tracking.queries import CODE_TAG, ParentRun
from trackml.ui.cards import COMMAND_TAG, interface_tags
from trackml.ui.names import request_of, run_name

VERSION_TAG = "trackml.version"
COLOR_TAG = "mlflow.runColor"


def initial_state(
    task: Task[Any],
    params: RunParams,
    data: Data,
    architecture: str,
    aliases: Sequence[str],
    parent: ParentRun | None,
) -> RunState:
    """What is known before training: parameters, tags, the dataset."""
    logged, every = logged_params(params), params.as_text()
    request = request_of(params, task.entry_points)
    name = parent.trial if parent else run_name(architecture, request.changes)
    colored = parent.trial if parent else architecture
    tags = {
        **{f"trackml.{flag}": every[flag] for flag in every.keys() - with_effect(every).keys()},
        "trackml.task": data.name,
        "trackml.framework": task.framework,
        "trackml.architecture": architecture,
        "trackml.data_sha256": data.sha256,
        COLOR_TAG: run_color(colored, logged),
        CODE_TAG: source_sha256(type(params).__module__),
        VERSION_TAG: trackml.__version__,
        **metric_tags(task.metric),
        **interface_tags(data),
    }
    if request.command:
        tags[COMMAND_TAG] = request.command
    if aliases:
        tags[ALIASES_TAG] = " ".join(aliases)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    samples = {f"{split}_samples": str(len(rows)) for split, rows in splits.items()}
    dataset = {
        "name": data.name,
        # MLflow keeps 36 characters of a digest; the tag trackml.data_sha256 has all of it.
        "digest": data.sha256[:36],
        "source_type": "trackml",
        "source": json.dumps({"source": data.source}),
        **dataset_facts(data),
    }
    return new_state(data.name, name, logged | samples, tags, dataset, parent)


def logged_params(params: Params) -> dict[str, str]:
    """The parameters that have an effect, as texts. Of the others, a comparison would be full."""
    unused = params.without_effect()
    texts = with_effect(params.as_text())
    return {name: text for name, text in texts.items() if name not in unused}


def new_state(
    experiment: str,
    name: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    dataset: Mapping[str, str] = {},
    parent: ParentRun | None = None,
) -> RunState:
    """A state before its run begins: that of `mlflow run`, a trial, or a new run."""
    # Made by the client, not by mlflow.start_run: that would set the status at exit too.
    given = "" if parent else os.environ.get("MLFLOW_RUN_ID", "")
    origin = parent.child_tags if parent else {} if given else resolve_tags()
    alive = {PROCESS_TAG: this_process(), HEARTBEAT_TAG: str(now_ms())}
    experiment_id = parent.experiment_id if parent else os.environ.get("MLFLOW_EXPERIMENT_ID", "")
    return RunState(
        store=server.shown_address(),
        experiment=os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment,
        experiment_id=experiment_id,
        name=name,
        started=now_ms(),
        run_id=given,
        params=params,
        tags={**origin, **alive, **tags},
        dataset=dataset,
    )


def run_color(name: str, params: Mapping[str, str]) -> str:
    """A run's color in MLflow's charts, "#rrggbb": a hue per name, a shade per set of parameters.

    The colors that MLflow picks itself are often the same for two runs. The digits before the name
    put the hues of our architectures far from each other; for a new one a test may ask for others.
    """
    texts = (f"887095{name}", f"52912{json.dumps(params, sort_keys=True)}")
    hue, shade = (random.Random(text).random() for text in texts)  # noqa: S311  # no secret
    rgb = colorsys.hls_to_rgb(hue, 0.3 + 0.28 * shade, 0.65)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)

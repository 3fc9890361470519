"""A run's model files in MLflow, as the outcome of the run."""

from collections.abc import Callable
from pathlib import Path

from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run as MlflowRun
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.tracking import MlflowClient

from trackml.ui.cards import NOTE_TAG, is_own


def log_model(
    client: MlflowClient, run: MlflowRun, folder: Path, card: Callable[[str], str]
) -> str:
    """Log the model that `save_model` has written as an outcome of a run; return its id.

    A run has one. If it is there already nothing is done; a half of it is completed.

    Args:
        card: the model's address → its description.
    """
    of_run = f"source_run_id = '{run.info.run_id}'"
    logged = next(iter(client.search_logged_models([run.info.experiment_id], of_run)), None)
    if logged and logged.status == LoggedModelStatus.READY:
        return str(logged.model_id)
    if not logged:
        origin = {"source_run_id": run.info.run_id, "params": run.data.params}
        name = run.data.tags.get("trackml.architecture", "model")
        logged = client.create_logged_model(run.info.experiment_id, name=name, **origin)
    outputs = run.outputs.model_outputs if run.outputs else []
    if logged.model_id not in {output.model_id for output in outputs}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    # Among its files is one that says whose it is.
    written = Model.load(str(folder))
    written.model_uuid = written.model_id = logged.model_id
    written.run_id, written.artifact_path = run.info.run_id, logged.artifact_location
    draft = folder / f".{MLMODEL_FILE_NAME}"
    written.save(str(draft))
    draft.replace(folder / MLMODEL_FILE_NAME)
    client.log_model_artifacts(logged.model_id, str(folder))
    if is_own(logged.tags.get(NOTE_TAG)):
        note = card(f"models:/{logged.model_id}")
        client.set_logged_model_tags(logged.model_id, {NOTE_TAG: note})
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return str(logged.model_id)

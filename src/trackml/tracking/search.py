"""Finding runs, and what they logged."""

from collections.abc import Iterator

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

_PAGE = 1_000  # runs in an answer


def all_experiments(client: MlflowClient) -> list[str]:
    """The ids of all experiments, as a search wants them."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = client.search_experiments(page_token=token)
        found += [experiment.experiment_id for experiment in page]
        if not (token := page.token):
            return found


def search_runs(client: MlflowClient, condition: str, *, newest_first: bool) -> Iterator[Run]:
    """All runs of all experiments, but for those in the trash, that fulfil a condition."""
    experiments = all_experiments(client)
    token: str | None = None
    while True:
        page = client.search_runs(
            experiments,
            condition,
            order_by=[f"attributes.start_time {'DESC' if newest_first else 'ASC'}"],
            max_results=_PAGE,
            page_token=token,
        )
        yield from page
        if not (token := page.token):
            return


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """The run of that id, None if there is none or it is in the trash."""
    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run and run.info.lifecycle_stage == "active" else None


def series(client: MlflowClient, run_id: str, metric: str) -> dict[int, float]:
    """The values of a run's metric by step, in their order."""
    rows = client.get_metric_history(run_id, metric)
    return {row.step: row.value for row in sorted(rows, key=lambda row: row.step)}

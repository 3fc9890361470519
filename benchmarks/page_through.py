"""All runs of the store in this folder, page by page, by MLflow's client and nothing else."""

from functools import partial

from mlflow.tracking import MlflowClient

if __name__ == "__main__":
    client = MlflowClient("sqlite:///mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    newest_first = ["attributes.start_time DESC"]
    fetch = partial(client.search_runs, experiments, order_by=newest_first, max_results=1_000)
    page = fetch()
    count = len(page)
    while page.token:
        page = fetch(page_token=page.token)
        count += len(page)
    print(count)

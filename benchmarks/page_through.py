"""All runs of the store in this folder, page by page, by MLflow's client and nothing else."""

from mlflow.tracking import MlflowClient

if __name__ == "__main__":
    client = MlflowClient("sqlite:///mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    count, token = 0, None
    while count == 0 or token:
        page = client.search_runs(
            experiments,
            order_by=["attributes.start_time DESC"],
            max_results=1_000,
            page_token=token,
        )
        count, token = count + len(page), page.token
    print(count)

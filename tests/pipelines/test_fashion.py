import mlflow

from tests.conftest import Finished


def test_the_augmented_run_is_compared_with_the_plain_one(finished: Finished) -> None:
    plain, augmented = finished.run("fashion"), finished.run("fashion_aug")
    assert "figures/comparison.png" not in finished.artifacts("fashion")
    assert "figures/comparison.png" in finished.artifacts("fashion_aug")
    assert augmented.data.params["augment"] == "true"
    uri = f"{augmented.info.artifact_uri}/reports/comparison"
    table = mlflow.artifacts.load_text(f"{uri}.md")
    assert f"Compared with run {plain.info.run_id}" in table
    assert "The runs differ in: augment." in table
    values = mlflow.artifacts.load_dict(f"{uri}.json")
    for name in ("test_accuracy", "test_f1_macro", "test_f1_class_6"):
        assert values["cnn"][name] == plain.data.metrics[name]
        assert values["cnn-aug"][name] == augmented.data.metrics[name]

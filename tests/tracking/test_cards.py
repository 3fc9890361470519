"""Descriptions and system metrics: what a person sees of a run in MLflow's UI."""

import json
from contextlib import suppress

from hypothesis import given, strategies as st

from tests.tracking.toy import Store, finish, train
from trackml.tracking.outbox import now_ms
from trackml.tracking.registry import register_run
from trackml.ui.cards import NOTE_TAG, is_own, sign
from trackml.ui.links import VIEW_TAG


def test_run_model_version_and_experiment_have_cards_with_what_a_person_needs(store: Store) -> None:
    with store.tracked(epochs=3) as run:
        started = store.tags()[NOTE_TAG]
        finish(run)
    client, own = store.client, store.run()
    (model,) = client.search_logged_models([own.info.experiment_id])
    version, registered = (
        client.get_model_version("blobs", "1"),
        client.get_registered_model("blobs"),
    )
    experiment = client.get_experiment(own.info.experiment_id)
    assert "Scores: none yet" in started
    described = str(version.description)
    for card in (own.data.tags[NOTE_TAG], model.tags[NOTE_TAG], described):
        assert "test accuracy 0.3000 (n = 60)" in card
        assert "150 to train, 50 to validate, 60 to test" in card
        assert "Input: uint8 (N, 9, 9)" in card
        assert card.count("mlflow.pyfunc.load_model") == 1
    assert f'load_model("models:/{model.model_id}")' in own.data.tags[NOTE_TAG]
    assert 'load_model("models:/blobs/1")' in described
    assert described.startswith("0.4000 best_val_accuracy: cnn, numpy")
    assert model.name == "cnn"
    for card in (str(registered.description), experiment.tags[NOTE_TAG]):
        assert "models:/blobs@champion" in card
    assert json.loads(experiment.tags[VIEW_TAG])["orderByKey"] == "metrics.`best_val_accuracy`"


def test_what_a_person_has_written_stays(store: Store) -> None:
    with store.tracked() as run:
        finish(run)
    client, first = store.client, run.run_id
    experiment = client.get_run(first).info.experiment_id
    client.set_experiment_tag(experiment, NOTE_TAG, "ours")
    client.set_experiment_tag(experiment, VIEW_TAG, "{}")
    client.update_registered_model("blobs", "mine")
    with store.tracked() as run:
        client.set_tag(run.run_id, NOTE_TAG, "my best idea")
        finish(run)
    tags = client.get_experiment(experiment).tags
    assert (tags[NOTE_TAG], tags[VIEW_TAG]) == ("ours", "{}")
    assert client.get_registered_model("blobs").description == "mine"
    assert store.tags(run.run_id)[NOTE_TAG] == "my best idea"
    register_run(client, run.run_id)
    assert "test accuracy" in str(client.get_model_version("blobs", "2").description)


def test_a_run_that_is_resumed_keeps_what_a_person_has_written(store: Store) -> None:
    run_id = store.failed(after=1)
    store.client.set_tag(run_id, NOTE_TAG, "stopped too early")
    with store.tracked(resume=True) as run:
        train(run, 2)
        finish(run)
    assert run.run_id == run_id
    assert store.tags(run_id)[NOTE_TAG] == "stopped too early"


def test_the_experiment_that_mlflow_run_has_chosen_is_described_by_no_task(store: Store) -> None:
    store.made_by_mlflow()
    with store.tracked():
        pass
    tags = store.client.get_experiment("0").tags
    assert NOTE_TAG not in tags
    assert VIEW_TAG in tags


def test_a_run_is_named_by_what_a_person_has_changed(store: Store) -> None:
    with store.tracked(seed=3, limit=20):
        pass
    assert store.run().info.run_name == "cnn limit=20 seed=3"


@given(st.text())
def test_only_a_text_that_nobody_has_touched_is_our_own(text: str) -> None:
    assert is_own(sign(text))
    assert not is_own(sign(text) + "!")
    assert not is_own(f"x{sign(text)}")


def test_system_metrics_are_logged_where_mlflows_setting_asks_for_them(store: Store) -> None:
    with store.tracked():
        pass
    assert not [name for name in store.run().data.metrics if name.startswith("system/")]
    store.monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    store.monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    before = now_ms()
    with store.tracked() as run:
        while len(run.uploader.samples) < 30:
            assert now_ms() < before + 20_000
    rows = store.client.get_metric_history(run.run_id, "system/cpu_utilization_percentage")
    assert len({row.timestamp for row in rows}) == len(rows) > 1
    assert all(before <= row.timestamp <= now_ms() for row in rows)
    assert store.status(run.run_id) == "FINISHED"


def test_system_metrics_do_not_keep_an_interrupted_run_alive(store: Store) -> None:
    store.monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    began = now_ms()
    with suppress(KeyboardInterrupt), store.tracked() as run:
        raise KeyboardInterrupt
    assert store.status(run.run_id) == "KILLED"
    assert now_ms() < began + 10_000

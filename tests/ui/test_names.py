"""How runs are named, and what to type to repeat them."""

import pytest
from hypothesis import given, strategies as st

from trackml.params import TrainingParams
from trackml.tasks import entry_point
from trackml.ui.names import MAX_NAME, request_of, run_name


class Example(TrainingParams):
    epochs: int = 2
    batch_size: int = 8
    learning_rate: float = 0.0

    def resolved(self) -> "Example":
        rate = self.learning_rate or self.batch_size / 100
        return self.model_copy(update={"learning_rate": rate})


def test_a_request_names_what_a_person_has_changed() -> None:
    for typed in ({}, {"seed": "3", "batch_size": "4"}, {"learning_rate": "0.5"}):
        params = Example.parse({**typed, "resume": True}).resolved()
        assert request_of(params).changes == typed


@given(st.dictionaries(st.text("abc", min_size=1, max_size=40), st.text(max_size=90)))
def test_a_name_is_short_and_begins_with_the_architecture(changes: dict[str, str]) -> None:
    name = run_name("cnn-aug", changes)
    assert name.startswith("cnn-aug")
    assert len(name) <= MAX_NAME


@pytest.mark.parametrize(
    ("name", "values", "command"),
    [
        ("fashion", {"augment": True}, "mlflow run . -e fashion_aug"),
        ("fashion_aug", {"augment": False, "seed": 1}, "mlflow run . -e fashion -P seed=1"),
        ("fashion_aug", {"epochs": 6, "resume": True}, "mlflow run . -e fashion_aug -P epochs=6"),
        ("fashion", {"rotation": 5}, "mlflow run . -e fashion"),  # without effect
        ("main", {}, "mlflow run . -e main"),
        ("cnn", {"learning_rate": 0.002}, "mlflow run . -e cnn"),  # as resolved
    ],
)
def test_a_preset_is_no_change_but_the_name_of_an_entry_point(
    name: str, values: dict[str, object], command: str
) -> None:
    entry = entry_point(name)
    params = entry.params.parse({**entry.preset, **values})
    assert entry.task
    assert request_of(params, entry.task.entry_points, name).command == command


def test_a_pipeline_of_ones_own_has_its_own_name() -> None:
    presets = {"fashion": {}, "fashion_aug": {"seed": 3}}  # copied with a pipeline of ours
    request = request_of(Example.parse({"seed": 3}), presets, "own.py")
    assert request.command == "trackml run own.py seed=3"

"""What saved models answer, as tables."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from trackml.errors import TrackmlError
from trackml.prediction.answers import answer

UINT8, FLOAT32 = np.dtype("uint8"), np.dtype("float32")
CODE = """
import numpy as np, pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
class Toy(PythonModel):
    def predict(self, context, model_input, params=None):
        x = model_input
        return {answer}
set_model(Toy())
"""
BRIGHT = "np.stack([1 - x.mean((1, 2)) / 255, x.mean((1, 2)) / 255], 1).astype('float32')"
IMAGES = np.stack([np.full((2, 2), value, np.uint8) for value in (0, 255, 255)])
IMAGE_MODEL = ([TensorSpec(UINT8, (-1, 2, 2))], [TensorSpec(FLOAT32, (-1, 2))])
PEOPLE = pd.DataFrame({"town": ["a", "bb"], "age": [1, 2]})


def saved(folder: Path, code: str, specs: Any, **notes: Any) -> Any:
    """A model that a pipeline could have written, loaded as a user loads it."""
    (folder / "toy.py").write_text(CODE.format(answer=code))
    signature = ModelSignature(Schema(specs[0]), Schema(specs[1]))
    about = Model(metadata=notes or None)
    code_file, path = str(folder / "toy.py"), str(folder / "model")
    mlflow.pyfunc.save_model(
        path, python_model=code_file, signature=signature, mlflow_model=about, pip_requirements=[]
    )
    return mlflow.pyfunc.load_model(path)


def asked(model: Any, inputs: Any) -> pd.DataFrame:
    return answer(model.metadata, lambda: model, inputs)


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints:UserWarning"),
]


def test_a_classifier_names_its_classes_or_counts_them(tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    named = saved(tmp_path / "named", BRIGHT, IMAGE_MODEL, classes=["dark", "light"])
    table = asked(named, IMAGES)
    assert table.columns.tolist() == ["prediction", "dark", "light"]
    assert table["prediction"].tolist() == ["dark", "light", "light"]
    assert table["light"].tolist() == [0, 1, 1]
    assert table.to_csv().splitlines()[:2] == ["row,prediction,dark,light", "0,dark,1.0,0.0"]
    numbered = asked(saved(tmp_path, BRIGHT, IMAGE_MODEL), IMAGES)
    assert numbered.columns.tolist() == ["prediction", 0, 1]
    assert numbered["prediction"].tolist() == [0, 1, 1]


def test_a_regressor_names_its_target(tmp_path: Path) -> None:
    specs = [TensorSpec(FLOAT32, (-1, 1), name) for name in ("age", "size")]
    code = "10 * x['age'] + x['size']"
    model = saved(tmp_path, code, (specs, [TensorSpec(FLOAT32, (-1, 1))]), target_name="price")
    table = asked(model, pd.DataFrame({"size": [3, 4], "x": 0, "age": [1, 2]}, index=[7, 9]))
    assert table["price"].to_dict() == {7: 13.0, 9: 24.0}


def test_a_table_with_texts_is_classified(tmp_path: Path) -> None:
    specs = [
        TensorSpec(FLOAT32, (-1, 1), "age"),
        TensorSpec(np.dtype(object), (-1, 1), "town"),
    ]
    code = "np.stack([np.char.str_len(x['town'][:, 0].astype(str)) == n for n in (1, 2)], 1) * 1.0"
    model = saved(tmp_path, code, (specs, [TensorSpec(FLOAT32, (-1, 2))]), classes=["no", "yes"])
    assert asked(model, PEOPLE)["prediction"].tolist() == ["no", "yes"]


def test_a_detectors_rows_name_their_file_and_class(tmp_path: Path) -> None:
    types = {"image": "long", "x1": "float", "label": "long", "score": "float"}
    specs = (
        [TensorSpec(UINT8, (-1, -1, -1))],
        [ColSpec(kind, name) for name, kind in types.items()],
    )
    code = "pd.DataFrame({'image': [1, 1], 'x1': [0., 1.], 'label': [0, 1], 'score': [.9, .5]})"
    model = saved(tmp_path, code, specs, classes=["cat", "dog"])
    table = asked(model, IMAGES)
    assert table.index.tolist() == [1, 1]
    assert table.columns.tolist() == ["x1", "label", "score"]
    assert table["label"].tolist() == ["cat", "dog"]


def test_a_model_that_answers_too_little_or_takes_something_else_is_refused(tmp_path: Path) -> None:
    for name, code, specs, words in [
        ("few", "np.ones((1, 2), 'float32')", IMAGE_MODEL, "a row for each of the 3 inputs"),
        (
            "other",
            BRIGHT,
            ([TensorSpec(FLOAT32, (-1, 2))], [TensorSpec(FLOAT32, (-1, 2))]),
            "expected a model that takes images or named columns",
        ),
    ]:
        (tmp_path / name).mkdir()
        model = saved(tmp_path / name, code, specs)
        with pytest.raises(TrackmlError, match=words):
            asked(model, IMAGES)

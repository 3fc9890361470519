"""How each framework's models are written and loaded: without trackml, and without pickle."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.pyfunc import PyFuncModel
from mlflow.utils import requirements_utils
from numpy.typing import NDArray

from trackml import backends
from trackml.backends import in_standard_settings, keep_triton_out, standard_settings
from trackml.data import ImageData, TableData
from trackml.data.canvases import Data, DetectionData
from trackml.model_files.signatures import add_example, signature
from trackml.model_files.torch import save_program, write_table_program
from trackml.models import mlp
from trackml.models.ensemble import Ensemble
from trackml.models.features import Features, WithFeatures
from trackml.process.system import environment
from trackml.tasks import Framework

Array = NDArray[Any]
_SOURCES = Path(__file__).parents[1]


def save_model(path: str, model: Any, framework: Framework, data: Data) -> None:
    """Write all files of a model, as MLflow has them, into a folder that does not exist yet.

    Args:
        model: for a table it takes float32 (N, columns). One of Keras may also have an input (N, 1)
            for each column; one of scikit-learn is a fitted estimator, which takes a DataFrame.

    Raises:
        ValueError: an estimator contains what other programs cannot import.
    """
    save, requirements = _writer(model, framework, data)
    described = Model(metadata=_metadata(model, framework, data))
    with no_list_of_packages():
        save(
            path=path,
            mlflow_model=described,
            signature=signature(data),
            # Without a list MLflow loads the model in a new process to find one: 13 s.
            pip_requirements=requirements,
        )
    add_example(described, Path(path), data)
    for cache in Path(path).rglob("__pycache__"):
        shutil.rmtree(cache)


def _writer(model: Any, framework: Framework, data: Data) -> tuple[Callable[..., None], list[str]]:
    """What writes the files of a model, and the packages that loading it takes."""
    match framework, data:
        case "ensemble", _:
            write = partial(_write_members, model)
            requirements = _pinned(*_needed_by(model))
            return partial(_save_code, write, "", data), requirements
        case "keras", TableData() if data.categories or data.missing == "impute":
            write = partial(_write_keras, model)
            return partial(_save_code, write, "", data), _pinned("pandas", "tensorflow", "keras")
        case "keras", _:
            named = _with_named_columns(model, data) if isinstance(data, TableData) else model
            return partial(_save_keras, named, data), _pinned("pandas", "tensorflow", "keras")
        case "torch", DetectionData():
            # Not exported: how much it finds, and so what it computes, depends on the images.
            weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
            write = partial(_write_arrays, weights)
            requirements = _pinned("pandas", "torch", "torchvision")
            return partial(_save_code, write, "faster_rcnn", data), requirements
        case "torch", TableData():
            write = partial(write_table_program, model, data)
            return partial(_save_code, write, "", data), _pinned("pandas", "torch")
        case "torch", ImageData():
            return partial(save_program, model, data.train.arrays[0]), _pinned("torch")
        case "sklearn", _:
            from trackml.models import estimator

            features, bare = None, model
            if isinstance(model, WithFeatures):
                features, bare = model.features, model.estimator
            write = partial(estimator.save, bare)
            requirements = _pinned("pandas", "scikit-learn", "skops")
            requirements += estimator.requirements(bare)
            save = partial(_save_code, write, "estimator", data, features=features)
            return save, requirements
        case _:  # a network in NumPy
            write = partial(_write_arrays, mlp.arrays(model))
            return partial(_save_code, write, "mlp", data), _pinned()


@contextmanager
def no_list_of_packages() -> Iterator[None]:
    """Keep MLflow from listing the files of all packages in the block.

    It takes most of a second, and only serves to warn of requirements that are not installed.
    Models are pinned to the versions that are.
    """
    name = "_MODULES_TO_PACKAGES"  # None until MLflow has listed them
    listed = getattr(requirements_utils, name, None)
    setattr(requirements_utils, name, listed or {})
    try:
        yield
    finally:
        setattr(requirements_utils, name, listed or None)  # not the {} of another thread


def _pinned(*packages: str) -> list[str]:
    """Requirements of the versions that are installed; all models need MLflow and NumPy."""
    return [
        f"{name}=={installed_version(name)}"
        for name in dict.fromkeys(("mlflow", "numpy", *packages))
    ]


def installed_version(package: str) -> str:
    """The version of an installed package; tensorflow-cpu is TensorFlow of that version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return version(f"{package}-cpu")


def _needed_by(ensemble: Ensemble) -> list[str]:
    """The packages that its members name; of the versions that are here, as they are checked so."""
    files = [member.folder / "requirements.txt" for member, _ in ensemble.used]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [line.partition("==")[0].strip() for line in lines if line.strip()]


def _metadata(model: Any, framework: Framework, data: Data) -> dict[str, Any]:
    """Metadata to load the model in silence, and to name its answers, without trackml."""
    metadata: dict[str, Any] = {"framework": framework}
    if isinstance(model, Ensemble):
        metadata["frameworks"] = sorted({member.framework for member, _ in model.used})
    if isinstance(data, TableData) and not data.classes:
        return metadata | {"target_name": data.target_name}
    return metadata | {"classes": [*data.classes]}


def framework_of(model: Any) -> Framework | None:
    """The framework of a model, as `save_model` takes it; None if there is none for it."""
    if isinstance(model, Ensemble):
        return "ensemble"
    packages = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "keras" in packages:
        return "keras"
    if "torch" in packages:
        return "torch"
    if isinstance(model, WithFeatures):
        return framework_of(model.estimator)
    if isinstance(model, tuple) and all(isinstance(layer, mlp.Layer) for layer in model):
        return "numpy"
    return "sklearn" if hasattr(model, "fit") and hasattr(model, "predict") else None


def load_saved(uri: str) -> PyFuncModel:
    """Load a model by a folder or an address of MLflow, whichever frameworks are loaded already."""
    keep_triton_out()  # else PyTorch would import it to load its models
    model = mlflow.models.get_model_info(uri)
    metadata = model.metadata or {}
    frameworks = {*model.flavors, metadata.get("framework"), *metadata.get("frameworks", ())}
    if "keras" in frameworks:
        backends.keras  # noqa: B018  # imports it without the lines that TensorFlow prints
    with standard_settings(), environment(KERAS_BACKEND="tensorflow"):
        loaded: PyFuncModel = mlflow.pyfunc.load_model(uri)
    loaded.predict = in_standard_settings(loaded.predict)  # type: ignore[method-assign]
    keep_triton_out()  # this model may have been the one that needs TensorFlow
    return loaded


def _save_keras(model: Any, data: Data, path: str, mlflow_model: Model, **options: Any) -> None:
    """Save a model that `mlflow.keras.load_model` loads too.

    MLflow's own way to answer is `model.predict`, which takes 70 ms to answer one image.

    Args:
        model: takes what the signature says.
    """
    import keras

    write = partial(_write_keras, model)
    _save_code(write, "", data, path, raw=True, mlflow_model=mlflow_model, **options)
    # Where the file is; MLflow adds ".keras".
    flavor = {"data": "artifacts/model", "keras_version": keras.version()}
    mlflow_model.add_flavor(mlflow.keras.FLAVOR_NAME, **flavor)
    mlflow_model.save(str(Path(path, MLMODEL_FILE_NAME)))


def _save_code(
    write: Callable[[Path], Path],
    architecture: str,
    data: Data,
    path: str,
    *,
    features: Features | None = None,
    raw: bool = False,
    **options: Any,
) -> None:
    """Save the code that builds a model, without trackml, and the files that it builds it from.

    Args:
        write: writes the weights into a folder; returns their file.
        architecture: a module of trackml.models that imports nothing of trackml, and has
            `restore(weights)` → model and `predict(model, inputs)` → answers; "" if the weights
            are a model that its library can load, or a folder of models to average.
        features: of the raw columns, which the model takes instead of them.
        raw: the model takes the columns of a table as a request has them.
    """
    with TemporaryDirectory(prefix="trackml-") as folder, warnings.catch_warnings():
        # The signature needs no example to be right.
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        files = {"weights": write(Path(folder))}
        if architecture:
            files["architecture"] = _SOURCES / f"models/{architecture}.py"
        if features:
            files["features"] = _SOURCES / "models/features.py"
            files["constants"] = _write_arrays(features.constants, Path(folder), "constants.npz")
        if isinstance(data, TableData) and not raw:
            files["table"] = Path(folder, "table.json")
            table = {name: getattr(data, name) for name in ("columns", "categories", "missing")}
            files["table"].write_text(json.dumps(table, indent=1), encoding="utf-8")
        mlflow.pyfunc.save_model(
            path,
            python_model=str(_SOURCES / "model_files/served/model.py"),
            artifacts={name: str(file) for name, file in files.items()},
            **options,
        )


def _write_arrays(arrays: Mapping[str, Array], folder: Path, name: str = "weights.npz") -> Path:
    named = dict[str, Any](arrays)
    np.savez(folder / name, **named)
    return folder / name


def _write_keras(model: Any, folder: Path) -> Path:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def _write_members(ensemble: Ensemble, folder: Path) -> Path:
    """A folder with a copy of each member that answers, and their weights and frameworks."""
    described = {}
    for number, (member, weight) in enumerate(ensemble.used, start=1):
        shutil.copytree(member.folder, folder / "members" / str(number))
        described[str(number)] = {"weight": weight, "framework": member.framework}
    text = json.dumps(described, indent=1)
    (folder / "members" / "weights.json").write_text(text, encoding="utf-8")
    return folder / "members"


def _with_named_columns(model: Any, data: TableData) -> Any:
    from trackml.models.keras import with_named_columns

    is_named = isinstance(model.input, Mapping)
    return model if is_named else with_named_columns(model, data.columns)

"""The options of `fit`, the same in all frameworks."""

import re
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.pipelines.expected import without_times
from tests.training.examples import Trained, dense_classifier, small_network, train
from trackml.backends import keras, seed_everything
from trackml.data import ImageData, TableData
from trackml.errors import TrackmlError
from trackml.evaluation.classification import evaluate_classifier
from trackml.evaluation.regression import evaluate_regressor
from trackml.metrics import ACCURACY, LOSS, MAE, Metric, regression_metrics, score_classes
from trackml.models import mlp
from trackml.models.keras import mirror_mean
from trackml.models.torch import MirrorMean, Standardize
from trackml.params import KerasParams, TorchParams
from trackml.training import (
    keras as in_keras,
    numpy as in_numpy,
    numpy_images,
    torch as in_torch,
)
from trackml.training.augmentation import Augmentation, draw
from trackml.training.checkpoint import Array
from trackml.training.objectives import CLASSIFICATION, REGRESSION, objective_of
from trackml.training.options import FitSettings, StepSettings

FRAMEWORKS = ("keras", "torch", "numpy")
each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
STEP: dict[str, Any] = {"batch_size": 150, "optimizer": "sgd"}  # one step is an epoch
STILL: dict[str, Any] = {"learning_rate": 1e-12, "epochs": 1}  # steps that change nothing


def plain_model(framework: str) -> Any:
    """A dense layer, with no statistics of batch normalization."""
    if framework == "torch":
        seed_everything(0)
        return nn.Sequential(Standardize(), nn.Flatten(), nn.Linear(81, 3))
    return None


def weights_of(model: Any) -> list[Array]:
    match model:
        case nn.Module():
            return [value.numpy().copy() for value in model.state_dict().values()]
        case keras.Model():
            return list(model.get_weights())
    return [array.copy() for array in mlp.arrays(model).values()]


def weights_by_epoch(framework: str, data: ImageData, **options: Any) -> list[list[Array]]:
    """The weights that were validated in each epoch."""
    kept: list[list[Array]] = []
    train(
        framework,
        data,
        callbacks=[lambda _epoch, _metrics, model: kept.append(weights_of(model))],
        **options,
    )
    return kept


def top2(targets: Array, answers: Array) -> float:
    best = np.argsort(answers, axis=1)[:, -2:]
    return float((best == targets[:, np.newaxis]).any(axis=1).mean())


TOP2 = Metric("top2", higher_is_better=True, score=top2)


def falling() -> Metric:
    """Of which the first value is the best, whatever the model answers."""
    numbers = count()
    return Metric("falling", True, lambda _targets, _answers: -float(next(numbers)))


@each_framework
def test_a_metric_of_ones_own_is_scored_and_ranks_epochs_if_it_is_told_to(
    framework: str, blobs: ImageData
) -> None:
    metric = falling()
    options: dict[str, Any] = {"metrics": (metric, TOP2), "rank_by": metric, "patience": 2}
    trained = train(framework, blobs, epochs=9, **options)
    history = trained.history
    assert (history.metric, history.best_epoch, len(history.rows)) == (metric, 1, 3)
    assert trained.scores(blobs.validation)["accuracy"] == history.rows[0]["val_accuracy"]
    assert list(history.summary)[-1] == "best_val_falling"
    kept = trained.predict(blobs.validation.images)
    assert history.summary["best_val_top2"] == top2(blobs.validation.labels, kept)
    assert {"best_val_accuracy", "best_val_loss"} <= history.summary.keys()
    report = evaluate_classifier(trained.predict, blobs, history)
    assert report.metrics["test_top2"] == top2(
        blobs.test.labels, trained.predict(blobs.test.images)
    )


def test_a_metric_that_writes_into_what_it_gets_changes_no_other_score(blobs: ImageData) -> None:
    def spoil(targets: Array, answers: Array) -> float:
        targets[:], answers[:] = 0, np.nan
        return 1.0

    labels = blobs.test.labels
    answers = np.eye(3, dtype=np.float32)[labels]
    settings = FitSettings.of_data({"metrics": [Metric("spoil", True, spoil), TOP2]}, blobs)
    scores = settings.scores(answers, labels)
    assert (scores["accuracy"], scores["loss"], scores["spoil"], scores["top2"]) == (1, 0, 1, 1)
    assert not np.isnan(answers).any()


@each_framework
def test_the_loss_may_rank_epochs_and_further_metrics_do_not_unasked(
    framework: str, blobs: ImageData
) -> None:
    history = train(framework, blobs, metrics=[falling()], epochs=2).history
    assert history.metric == ACCURACY
    assert without_times(history)[0].keys() >= {"train_accuracy", "val_falling"}
    assert train(framework, blobs, rank_by=LOSS, epochs=1).history.metric == LOSS


@each_framework
def test_the_schedule_the_target_loss_and_callbacks_are_those_of_the_loop(
    framework: str, blobs: ImageData
) -> None:
    calls: list[tuple[int, float, float]] = []
    predictors: dict[str, Any] = {
        "keras": lambda model, images: in_keras.predictor(model)(images),
        "torch": in_torch.predict,
        "numpy": mlp.predict,
    }

    def note(epoch: int, metrics: Any, model: Any) -> str | None:
        images, labels = blobs.validation.arrays
        answers = predictors[framework](model, images)
        accuracy = float((answers.argmax(axis=1) == labels).mean())
        calls.append((epoch, metrics["val_accuracy"], accuracy))
        return "that is enough" if epoch == 2 else None

    halving: dict[str, Any] = {"schedule": lambda done, _history: 1 - done, "callbacks": [note]}
    history = train(framework, blobs, epochs=4, learning_rate=0.01, **halving).history
    assert [row["learning_rate"] for row in history.rows] == [0.01, 0.0075]
    assert history.stopped == "that is enough"
    assert [epoch for epoch, _, _ in calls] == [1, 2]
    assert all(logged == answered for _, logged, answered in calls)
    assert len(train(framework, blobs, epochs=3, target_loss=1e9).history.rows) == 1


@each_framework
def test_gradients_are_clipped_to_the_norm_of_all_together(
    framework: str, blobs: ImageData
) -> None:
    rate, norm = 0.1, 0.05
    before, after = (
        weights_by_epoch(
            framework, blobs, model=plain_model(framework), learning_rate=each, clip_norm=norm,
            epochs=1, **STEP,
        )[0]
        for each in (1e-12, rate)
    )  # fmt: skip
    change = np.sqrt(sum(np.square(w - v).sum() for v, w in zip(before, after, strict=True)))
    nesterov = 1.0 if framework == "numpy" else 1.9  # of the first step, with a momentum of 0.9
    assert change == pytest.approx(nesterov * rate * norm, rel=0.01)
    same = [without_times(train(framework, blobs, clip_norm=n, epochs=1).history) for n in (0, 1e9)]
    assert same[0] == same[1]


@each_framework
@pytest.mark.parametrize("weights", ["balanced", {"top": 5.0, 1: 0.5}])
def test_class_weights_and_smoothing_are_in_the_training_loss_alone(
    framework: str, weights: Any, blobs: ImageData
) -> None:
    trained = train(
        framework, blobs, model=plain_model(framework), class_weights=weights,
        label_smoothing=0.3, batch_size=64, **STILL,
    )  # fmt: skip
    labels = blobs.train.labels
    logs = np.log(trained.predict(blobs.train.images))
    losses = -0.7 * logs[np.arange(len(labels)), labels] - 0.3 * logs.mean(axis=1)
    counts = np.bincount(labels)
    each = len(labels) / (3 * counts) if weights == "balanced" else np.array([5.0, 0.5, 1.0])
    row = trained.history.rows[0]
    assert row["train_loss"] == pytest.approx((each[labels] * losses).mean(), rel=1e-4)
    scores = trained.scores(blobs.validation)
    assert row["val_loss"] == pytest.approx(scores["loss"], rel=1e-5)
    accuracy = trained.scores(blobs.train)["accuracy"]
    assert row["train_accuracy"] == pytest.approx(accuracy, rel=1e-6)


@each_framework
@pytest.mark.parametrize("weights", [None, {"top": 5.0}])
def test_a_mixture_of_images_has_a_mixture_of_targets(
    framework: str, weights: Any, blobs: ImageData
) -> None:
    augment = Augmentation(mirror=True, pad=1, erase=0.3, mixup=0.8)
    trained = train(
        framework, blobs, model=plain_model(framework), class_weights=weights, augment=augment,
        label_smoothing=0.1, batch_size=32, **STILL,
    )  # fmt: skip
    images, labels = blobs.train.arrays
    random = np.random.default_rng((0, 1))
    if framework == "torch":
        random.integers(2**63)  # seeds dropout
    order = random.permutation(len(labels))
    changes = draw(augment, len(labels), (9, 9), random)
    losses, right = [], []
    for first in range(0, len(labels), 32):
        batch = slice(first, first + 32)
        rows = order[batch]
        logs = np.log(trained.predict(numpy_images.change(images[rows], changes[batch])))
        right += [*(logs.argmax(axis=1) == labels[rows])]
        shares = changes.shares[batch, np.newaxis]
        y = shares * np.eye(3)[labels[rows]] + (1 - shares) * np.eye(3)[labels[rows][::-1]]
        of_classes = np.array([5.0 if weights else 1.0, 1.0, 1.0])
        losses += [*(-((0.9 * y + 0.1 / 3) * logs).sum(axis=1) * (y @ of_classes))]
    row = trained.history.rows[0]
    assert row["train_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert row["train_accuracy"] == pytest.approx(np.mean(right), rel=1e-6)


@each_framework
def test_a_class_without_weight_is_not_learned(framework: str, blobs: ImageData) -> None:
    weights = {"top": 0.0, "middle": 0.0}
    trained = train(framework, blobs, class_weights=weights, epochs=6, optimizer="sgd")
    assert (trained.predict(blobs.test.images).argmax(axis=1) == 2).mean() > 0.8


@each_framework
def test_smoothed_labels_keep_the_model_from_being_sure(framework: str, blobs: ImageData) -> None:
    def confidence(trained: Trained) -> float:
        return float(trained.predict(blobs.train.images).max(axis=1).mean())

    options: dict[str, Any] = {"epochs": 8, "optimizer": "sgd", "rank_by": LOSS}
    sure, smoothed = (
        train(framework, blobs, label_smoothing=each, **options) for each in (0.0, 0.6)
    )
    # The best answer gives a class 0.4 + 0.6 / 3.
    assert confidence(smoothed) < 0.75 < confidence(sure)
    assert smoothed.history.best["val_accuracy"] > 0.9


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_the_mean_over_an_image_and_its_mirror_is_validated_and_training_is_as_without(
    framework: str, ema_decay: float, blobs: ImageData
) -> None:
    mirrored = MirrorMean if framework == "torch" else mirror_mean
    plain, mean = (
        train(framework, blobs, model=model, epochs=2, ema_decay=ema_decay)
        for model in (new_model(framework), mirrored(new_model(framework)))
    )
    for one, other in zip(plain.history.rows, mean.history.rows, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)
    images = blobs.validation.images
    expected = (plain.predict(images) + plain.predict(images[:, :, ::-1].copy())) / 2
    np.testing.assert_allclose(mean.predict(images), expected, atol=1e-5)
    scores = score_classes(mean.predict(images), blobs.validation.labels)
    assert mean.history.rows[-1]["val_loss"] == pytest.approx(scores["loss"], rel=1e-4)


def new_model(framework: str) -> Any:
    """The same one in each call, with batch normalization where there is one."""
    seed_everything(0)
    layers = keras.layers
    inputs = [keras.Input((9, 9), dtype="uint8"), layers.Rescaling(1 / 255), layers.Flatten()]
    outputs = [layers.BatchNormalization(), layers.Dense(3, activation="softmax")]
    match framework:
        case "torch":
            return small_network()
        case "shared":  # a weight of two layers
            first, second = nn.Linear(4, 4), nn.Linear(4, 4)
            second.weight = first.weight
            pixels = Standardize(), nn.Flatten()
            return nn.Sequential(*pixels, nn.Linear(81, 4), first, second, nn.Linear(4, 3))
        case "keras":
            return keras.Sequential([*inputs, *outputs])
    return dense_classifier()


@pytest.mark.parametrize(
    ("framework", "model"),
    [("keras", "keras"), ("torch", "torch"), ("torch", "shared"), ("numpy", "numpy")],
)
def test_the_averaged_model_is_validated_and_trained_as_without(
    framework: str, model: str, blobs: ImageData
) -> None:
    """The decays are 1/10, then 0.15, as 2/11 is more. Statistics are averaged too."""
    start = weights_of(new_model(model))
    live, means = (
        weights_by_epoch(
            framework, blobs, model=new_model(model), epochs=2, ema_decay=decay, **STEP
        )
        for decay in (0.0, 0.15)
    )
    for w0, w1, w2, mean1, mean2 in zip(start, *live, *means, strict=True):
        if np.issubdtype(w0.dtype, np.floating):
            np.testing.assert_allclose(mean1, 0.1 * w0 + 0.9 * w1, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(mean2, 0.15 * mean1 + 0.85 * w2, rtol=1e-4, atol=1e-5)
        else:
            assert mean2 == w2


@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_adamw_takes_its_share_off_the_weights_whatever_the_gradient(framework: str) -> None:
    if framework == "keras":
        weight = keras.Variable([1.0, -2.0])
        adamw = in_keras.OPTIMIZERS["adamw"](weight_decay=0.5)
        adamw.learning_rate = 0.1
        adamw.apply([keras.ops.zeros(2)], [weight])
        after = np.asarray(weight)
    else:
        parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
        parameter.grad = torch.zeros(2)
        in_torch.OPTIMIZERS["adamw"]([parameter], lr=0.1, weight_decay=0.5).step()
        after = parameter.detach().numpy()
    np.testing.assert_allclose(after, [0.95, -1.9], rtol=1e-6)


def table() -> TableData:
    features = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    rows = features, features @ [1.0, -2.0, 0.5]
    return TableData.from_arrays("sums", rows, rows, columns="abc", validation_split=0.2)


def test_a_regression_is_recognized_by_its_target() -> None:
    assert objective_of(np.zeros(2, np.float32), 0) == REGRESSION
    assert objective_of(np.zeros(2, np.int64), 0) == CLASSIFICATION
    assert objective_of(np.zeros(2, np.float32), 2) == CLASSIFICATION


@pytest.mark.parametrize("framework", ["keras", "torch", "torch, (N,)"])
def test_regressions_are_trained_unasked_with_metrics_of_ones_own(framework: str) -> None:
    values = {"epochs": 20, "batch_size": 20, "learning_rate": 0.02, "precision": "float32"}
    data = table()
    bias = Metric("bias", False, lambda targets, answers: abs((answers[:, 0] - targets).mean()))
    options: Any = {"ema_decay": 0.9, "clip_norm": 5.0, "metrics": [bias]}
    seed_everything(0)
    if framework == "keras":
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        adam = in_keras.OPTIMIZERS["adam"]()
        params = KerasParams.parse(values)
        history = in_keras.fit(model, data, params, optimizer=adam, **options)
        predict = in_keras.predictor(model)
    else:
        layers = [nn.Linear(3, 1)] if framework == "torch" else [nn.Linear(3, 1), nn.Flatten(0)]
        network = nn.Sequential(*layers)
        adamw = in_torch.OPTIMIZERS["adamw"](network.parameters())
        torch_params = TorchParams.parse(values)
        history = in_torch.fit(network, data, torch_params, optimizer=adamw, **options)
        predict = in_torch.predictor(network, REGRESSION)
    assert history.metric == MAE
    answers = predict(data.test.features)
    assert answers.dtype == np.float32
    assert answers.shape == (200, 1)
    assert np.abs(answers[:, 0] - data.test.target).mean() < 0.3
    rows = history.rows
    assert rows[-1]["train_mae"] < rows[0]["train_mae"] / 2
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 4
    report = evaluate_regressor(predict, data, history)
    expected = abs((answers[:, 0] - data.test.target).mean())
    assert report.metrics["test_bias"] == pytest.approx(expected)


WITH_SCORE = Metric("own", True, top2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clip_norm": -1}, "clip_norm must be at least 0 and finite. Received: -1"),
        ({"clip_norm": float("nan")}, "clip_norm must be"),
        ({"clip_norm": "a"}, "clip_norm must be at least 0 and finite. Received: 'a'"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"target_loss": None}, "target_loss must be at least 0 and finite. Received: None"),
        ({"ema_decay": 1.0}, "ema_decay must be at least 0 and below 1. Received: 1.0"),
        ({"label_smoothing": 1}, "label_smoothing must be at least 0 and below 1"),
        ({"class_weights": "even"}, "class_weights must be 'balanced', or a mapping"),
        ({"class_weights": {"left": 1}}, "there is no class 'left'; the classes are top, middle"),
        ({"class_weights": {3: 1}}, "there is no class 3; the classes are top, middle, bottom"),
        ({"class_weights": {"top": -1}}, "class_weights of 'top' must be at least 0"),
        ({"objective": REGRESSION, "label_smoothing": 0.1}, "are for classes. Received: the obj"),
        ({"metrics": [Metric("own", True)]}, "metrics: own needs a score"),
        ({"metrics": [WITH_SCORE, WITH_SCORE]}, "metrics: there is a own already"),
        ({"metrics": [Metric("accuracy", True, top2)]}, "metrics: there is a accuracy already"),
        ({"metrics": [Metric("f1_macro", True, top2)]}, "metrics: there is a f1_macro already"),
        ({"metrics": [Metric("f1_class_2", True, top2)]}, "metrics: there is a f1_class_2 already"),
        ({"objective": REGRESSION, "metrics": [Metric("r2", True, top2)]}, "there is a r2 already"),
        ({"rank_by": MAE}, "rank_by must be one of accuracy, loss, with its direction. Received: "),
        ({"rank_by": WITH_SCORE}, "rank_by must be one of accuracy, loss, with"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(options: Any, words: str, blobs: ImageData) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as refusal:
        FitSettings.of_data(options, blobs)
    assert "\n" not in str(refusal.value)


@each_framework
def test_an_unknown_option_is_refused_with_those_that_there_are(
    framework: str, blobs: ImageData
) -> None:
    module: Any = {"keras": in_keras, "torch": in_torch, "numpy": in_numpy}[framework]
    with pytest.raises(TypeError, match=r"no option patients; the options are .*, patience, "):
        module.fit(new_model(framework), blobs, None, optimizer=None, patients=3)


def test_the_names_of_an_evaluation_are_reserved_and_others_are_free(blobs: ImageData) -> None:
    history = train("numpy", blobs, epochs=1).history
    answers = np.full((len(blobs.test.labels), 3), 1 / 3, np.float32)
    metrics = evaluate_classifier(lambda _images: answers, blobs, history).metrics
    names = [name.removeprefix("test_") for name in metrics if name.startswith("test_")]
    assert all(re.fullmatch(CLASSIFICATION.reserved, name) for name in names)
    scores = regression_metrics(answers[:, 0], blobs.test.labels.astype(np.float32))
    assert all(re.fullmatch(REGRESSION.reserved, name) for name in scores)
    own = [Metric(name, True, top2) for name in ("rmse", "f1_macro_own", "f1_class_top")]
    assert FitSettings.of_data({"metrics": own}, blobs).metrics == tuple(own)


def test_a_detector_has_the_options_without_classes() -> None:
    assert StepSettings.of({"clip_norm": 1, "ema_decay": 0.5, "patience": 3}).clip_norm == 1
    with pytest.raises(TypeError, match="no option label_smoothing; the options are callbacks"):
        StepSettings.of({"label_smoothing": 0.1})  # type: ignore[typeddict-unknown-key]


def test_a_network_in_numpy_is_no_regression(blobs: ImageData) -> None:
    with pytest.raises(ValueError, match=r"in NumPy is a classifier. Received: the objective regr"):
        train("numpy", blobs, objective=REGRESSION)


def test_an_optimizer_that_clips_already_is_refused_and_ours_is_as_it_was(
    blobs: ImageData,
) -> None:
    adam = keras.optimizers.Adam(clipnorm=1.0)
    with pytest.raises(ValueError, match=r"clip_norm 2: the optimizer clips already. Received: "):
        in_keras.fit(new_model("keras"), blobs, train_params(), optimizer=adam, clip_norm=2.0)
    adam = keras.optimizers.Adam()
    in_keras.fit(new_model("keras"), blobs, train_params(), optimizer=adam, clip_norm=2.0)
    assert adam.global_clipnorm is None


def train_params() -> KerasParams:
    return KerasParams.parse({"epochs": 1, "batch_size": 150, "learning_rate": 0.01})


@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_a_network_of_another_number_of_outputs_is_refused(
    framework: str, blobs: ImageData
) -> None:
    more = replace(blobs, classes=(*blobs.classes, "left"))
    with pytest.raises(TrackmlError, match="outputs N x 3; expected N x 4, one per class"):
        train(framework, more, epochs=1)

"""Training PyTorch networks: epochs over tensors that stay in the device's memory."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import compress
from typing import Literal, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trackml.backends import standard_settings
from trackml.errors import UsageError
from trackml.history import History
from trackml.models.torch import batch_size
from trackml.params import DeviceName, OptimizerName, TorchParams
from trackml.training.augmentation import draw, partners
from trackml.training.averages import Average
from trackml.training.checkpoint import Array
from trackml.training.loop import Learner, Rate, Splits, loop_options, run_epochs
from trackml.training.objectives import CLASSIFICATION, REGRESSION, Objective
from trackml.training.options import FitOptions, FitSettings, StepSettings
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision
from trackml.training.torch_convolutions import fast_convolutions
from trackml.training.torch_images import change, on_device
from trackml.training.torch_loss import Loss

Device = Literal["cpu", "cuda"]

# Fused: one call for all weights, where a loop over them would take longer than the arithmetic.
OPTIMIZERS: Mapping[OptimizerName, Callable[..., Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, foreach=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
}
"""Name → function of the parameters, and of weight_decay: the factor of an L2 penalty; for adamw
what a step also takes off the weights, times the rate."""


def resolve_device(device: DeviceName) -> Device:
    """The device on this machine: "auto" is a CUDA GPU if there is one.

    Raises:
        UsageError: "cuda" was requested, and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError("--device cuda: PyTorch finds no CUDA GPU here; use auto or cpu")
    if device == "auto":
        return "cuda" if available else "cpu"
    return device


@standard_settings()
def fit(
    network: nn.Module,
    data: Splits,
    params: TorchParams,
    *,
    optimizer: Optimizer,
    **options: Unpack[FitOptions],
) -> History:
    """Train a network, and leave the weights of its best epoch in it, on `params.device`.

    Only the training steps use `params.precision`. The network stays float32 and is validated as
    others will load it.

    Args:
        network: inputs (N, ...) → logits (N, C), or values (N, 1) or (N,).
        optimizer: of the network; its learning rate becomes that of `params` times the schedule.
        options: those of `FitOptions`.

    Raises:
        TypeError: there is no such option.
        ValueError: the value of an option is not allowed.
        NonFiniteLoss: as `run_epochs` has it.
        UsageError: there is no such device.
    """
    learner = _NetworkLearner(network, data, params, optimizer, FitSettings.of_data(options, data))
    return run_epochs(learner, params, **loop_options(options))


class TorchLearner(Learner):
    """A float32 network that is trained under autocast if `precision` is bfloat16.

    With `ema_decay`, it has the averages of its weights between epochs.
    """

    def __init__(
        self,
        network: nn.Module,
        params: TorchParams,
        optimizer: Optimizer,
        settings: StepSettings,
    ) -> None:
        self.device = resolve_device(params.device)
        native = (
            cpu_computes_in_bfloat16()
            if self.device == "cpu"
            else torch.cuda.is_bf16_supported(including_emulation=False)
        )
        self.precision = resolve_precision(params.precision, native=native)
        self.batch_size = params.batch_size
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.model = self.network
        enabled = self.precision == "bfloat16"
        # Without the cache: in an autocast of the caller, weights from before the step stay in it.
        self.autocast = torch.autocast(
            self.device, torch.bfloat16, enabled=enabled, cache_enabled=False
        )
        self._optimizer, self._last_loss = optimizer, torch.tensor(float("nan"))
        self._clip_norm = settings.clip_norm
        weights = list(self.network.state_dict().values())
        self.average = Average(weights, settings.ema_decay, torch.clone, _approach)

    def step(self, loss: Tensor, rate: float) -> None:
        """One optimizer step with that learning rate."""
        self._last_loss = loss.detach()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip_norm:
            clip_grad_norm_(self._trained, self._clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.average.update()

    def scores_so_far(self) -> Mapping[str, float]:
        return {"loss": self._last_loss.item()}

    def get_weights(self) -> list[Array]:
        return [_array(weight) for weight in self.network.state_dict().values()]

    def set_weights(self, weights: Sequence[Array]) -> None:
        with torch.no_grad():
            for weight, value in zip(self.network.state_dict().values(), weights, strict=True):
                weight.copy_(torch.as_tensor(value))

    @property
    def _trained(self) -> list[Tensor]:
        return [weight for group in self._optimizer.param_groups for weight in group["params"]]

    def get_state(self) -> Mapping[str, Array]:
        weights = {f"weight {number}": value for number, value in enumerate(self.get_weights())}
        averaged = {f"average {n}": _array(other) for n, other in enumerate(self.average.others)}
        steps = {"average steps": np.array(self.average.steps)} if averaged else {}
        return {**weights, **averaged, **steps} | {
            f"{name} {number}": _array(value)
            for number, values in self._optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }

    def set_state(self, state: Mapping[str, Array]) -> None:
        count = len(self.network.state_dict())
        self.set_weights([state[f"weight {number}"] for number in range(count)])
        for position, other in enumerate(self.average.others):
            other.copy_(torch.as_tensor(state[f"average {position}"]))
        self.average.steps = int(state.get("average steps", 0))
        trained = self._trained
        restored: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, number = key.rsplit(" ", 1)
            if name in ("weight", "average"):
                continue
            tensor = torch.tensor(value)  # a copy, because the optimizer counts in place
            weight = trained[int(number)]
            if tensor.shape == weight.shape:
                tensor = torch.empty_like(weight).copy_(tensor)  # in its memory layout
            restored.setdefault(int(number), {})[name] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": restored})


def _approach(averages: Sequence[Tensor], weights: Sequence[Tensor], share: float) -> None:
    floats = [average.is_floating_point() for average in averages]
    # One call for all of them: a loop in Python takes 8 % of an epoch of `fashion_best`.
    approach = get_ema_multi_avg_fn(1 - share)  # type: ignore[no-untyped-call]
    approach([*compress(averages, floats)], [*compress(weights, floats)], 0)
    for average, weight, is_float in zip(averages, weights, floats, strict=True):
        if not is_float:
            average.copy_(weight)  # such as the number of batches that batch norm has seen


def _array(value: Tensor) -> Array:
    return value.cpu().numpy().copy()


class _NetworkLearner(TorchLearner):
    def __init__(
        self,
        network: nn.Module,
        data: Splits,
        params: TorchParams,
        optimizer: Optimizer,
        settings: FitSettings,
    ) -> None:
        super().__init__(network, params, optimizer, settings)
        self.metric, self.metrics, self._settings = settings.metric, settings.metrics, settings
        to_device = partial(torch.tensor, device=self.device)
        self._inputs, self._targets = map(to_device, data.train.arrays)
        self._loss = Loss(settings, self.device)
        self._validation = data.validation
        self.samples = len(self._targets)
        self._predict = predictor(network, settings.objective)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        with fast_convolutions(self.network, self.device, self.precision):
            return self._train_epoch(rate, random)

    def _train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        torch.manual_seed(int(random.integers(2**63)))  # for dropout
        samples = self.samples
        order = torch.from_numpy(random.permutation(samples)).to(self.device)
        targets, shape = self._targets[order], self._inputs.shape[1:]
        changes = draw(self._settings.augment, samples, shape, random)
        changes = on_device(changes, shape, self.device)
        mixture = None
        if changes.shares is not None:
            mixture = targets[partners(samples, self.batch_size)], changes.shares
        self.network.train()
        self.average.swap()
        all_outputs = torch.empty(0)
        for first in range(0, samples, self.batch_size):
            batch = slice(first, first + self.batch_size)
            images = change(self._inputs[order[batch]], changes[batch])
            with self.autocast:
                outputs = self.network(images)
            outputs = outputs.float()
            if not first:
                self._settings.check_outputs(outputs.shape)
            of_batch = mixture and (mixture[0][batch], mixture[1][batch])
            self.step(self._loss(outputs, targets[batch], of_batch), rate(first / samples))
            if not first:
                # Allocated at once: small pieces would fragment the memory of the large ones.
                all_outputs = outputs.new_empty((samples, *outputs.shape[1:]))
            all_outputs[batch] = outputs.detach()
        self.average.swap()
        # Scored once: batch by batch, it would add some percent to each step.
        return self._loss.scores(all_outputs, targets, mixture)

    def validate(self) -> Mapping[str, float]:
        inputs, targets = self._validation.arrays
        self.answers = self._predict(inputs)
        return self._settings.scores(self.answers, targets)


def predictor(
    network: nn.Module, objective: Objective = CLASSIFICATION
) -> Callable[[Array], NDArray[np.float32]]:
    """A function of inputs (N, ...) that returns answers, float32 (N, outputs).

    Of a classifier they are class probabilities, of a regression values (N, 1).

    >>> predictor(nn.Linear(4, 1), REGRESSION)(np.zeros((3, 4), np.float32)).shape
    (3, 1)

    Args:
        network: of logits (N, C), or of values (N, 1) or (N,); the function leaves it in evaluation
            mode.
    """
    if objective.name != REGRESSION.name:
        return partial(predict, network)

    def values(inputs: Array) -> NDArray[np.float32]:
        return outputs(network, inputs).reshape(len(inputs), 1).numpy()

    return values


def predict(network: nn.Module, inputs: Array) -> NDArray[np.float32]:
    """Class probabilities, float32 (N, C), of a network of logits; it ends in evaluation mode.

    >>> predict(nn.Linear(4, 2), np.zeros((3, 4), np.float32)).shape
    (3, 2)
    """
    return outputs(network, inputs).softmax(dim=1).numpy()


def outputs(network: nn.Module, inputs: Array) -> Tensor:
    """Outputs (N, ...), on the CPU, of a network on any device; it ends in evaluation mode."""
    device = next(network.parameters()).device
    size = batch_size(network, torch.tensor(inputs[:1], device=device))
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        batches = [
            network(torch.tensor(inputs[row : row + size], device=device)).cpu()
            for row in range(0, len(inputs), size)
        ]
    return torch.cat(batches)

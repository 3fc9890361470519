"""Training PyTorch classifiers: epochs over tensors that stay in the device's memory."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from trackml.backends import standard_settings
from trackml.errors import UsageError
from trackml.history import History
from trackml.metrics import ACCURACY, score_classes
from trackml.models.torch import batch_size
from trackml.params import DeviceName, OptimizerName, TorchParams
from trackml.training.checkpoint import Array
from trackml.training.loop import Learner, Rate, Splits, TrainingRun, run_epochs
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision
from trackml.training.schedules import Schedule, constant

Device = Literal["cpu", "cuda"]

# Fused: one call for all weights, where a loop over them would take longer than the arithmetic.
OPTIMIZERS: Mapping[OptimizerName, Callable[..., Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, foreach=True),
}
"""Name → function of the parameters, and of weight_decay, the factor of an L2 penalty."""


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
    schedule: Schedule = constant,
    run: TrainingRun | None = None,
) -> History:
    """Train a classifier, and leave the weights of its best epoch in it, on `params.device`.

    Only the training steps use `params.precision`. The network stays float32 and is validated as
    others will load it.

    Args:
        network: inputs (N, ...) → logits (N, C).
        optimizer: of the network; its learning rate becomes that of `params` times the schedule.
        schedule, run: as in `run_epochs`, which raises the same errors, as does `resolve_device`.
    """
    learner = _ClassifierLearner(network, data, params, optimizer)
    return run_epochs(learner, params, schedule=schedule, run=run)


class TorchLearner(Learner):
    """A float32 network that is trained under autocast if `precision` is bfloat16."""

    def __init__(self, network: nn.Module, params: TorchParams, optimizer: Optimizer) -> None:
        self.device = resolve_device(params.device)
        native = (
            cpu_computes_in_bfloat16()
            if self.device == "cpu"
            else torch.cuda.is_bf16_supported(including_emulation=False)
        )
        self.precision = resolve_precision(params.precision, native=native)
        self.batch_size = params.batch_size
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        enabled = self.precision == "bfloat16"
        # Without the cache: in an autocast of the caller, weights from before the step stay in it.
        self.autocast = torch.autocast(
            self.device, torch.bfloat16, enabled=enabled, cache_enabled=False
        )
        self._optimizer = optimizer

    def step(self, loss: Tensor, rate: float) -> None:
        """One optimizer step with that learning rate."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad()

    def get_weights(self) -> list[Array]:
        return [weight.cpu().numpy().copy() for weight in self.network.state_dict().values()]

    def set_weights(self, weights: Sequence[Array]) -> None:
        with torch.no_grad():
            for weight, value in zip(self.network.state_dict().values(), weights, strict=True):
                weight.copy_(torch.as_tensor(value))

    def get_state(self) -> Mapping[str, Array]:
        weights = {f"weight {number}": value for number, value in enumerate(self.get_weights())}
        return weights | {
            f"{name} {number}": value.cpu().numpy().copy()
            for number, values in self._optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }

    def set_state(self, state: Mapping[str, Array]) -> None:
        count = len(self.network.state_dict())
        self.set_weights([state[f"weight {number}"] for number in range(count)])
        trained = [weight for group in self._optimizer.param_groups for weight in group["params"]]
        restored: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, number = key.rsplit(" ", 1)
            if name == "weight":
                continue
            tensor = torch.tensor(value)  # a copy, because the optimizer counts in place
            weight = trained[int(number)]
            if tensor.shape == weight.shape:
                tensor = torch.empty_like(weight).copy_(tensor)  # in its memory layout
            restored.setdefault(int(number), {})[name] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": restored})


class _ClassifierLearner(TorchLearner):
    metric = ACCURACY

    def __init__(
        self, network: nn.Module, data: Splits, params: TorchParams, optimizer: Optimizer
    ) -> None:
        super().__init__(network, params, optimizer)
        to_device = partial(torch.tensor, device=self.device)
        self._inputs, self._targets = map(to_device, data.train.arrays)
        self._validation = data.validation
        self.samples = len(self._targets)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        torch.manual_seed(int(random.integers(2**63)))  # for dropout
        samples = self.samples
        order = torch.from_numpy(random.permutation(samples)).to(self.device)
        self.network.train()
        all_logits = torch.empty(0)
        for first in range(0, samples, self.batch_size):
            rows = order[first : first + self.batch_size]
            with self.autocast:
                logits = self.network(self._inputs[rows])
            logits = logits.float()
            self.step(cross_entropy(logits, self._targets[rows]), rate(first / samples))
            if not first:
                # Allocated at once: small pieces would fragment the memory of the large ones.
                all_logits = logits.new_empty((samples, logits.shape[1]))
            all_logits[first : first + self.batch_size] = logits.detach()
        # Scored once: batch by batch, it would add some percent to each step.
        targets = self._targets[order]
        return {
            "loss": float(cross_entropy(all_logits, targets)),
            "accuracy": float((all_logits.argmax(dim=1) == targets).double().mean()),
        }

    def validate(self) -> Mapping[str, float]:
        inputs, labels = self._validation.arrays
        return score_classes(predict(self.network, inputs), labels)


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

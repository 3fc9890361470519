"""Training PyTorch classifiers: epochs over tensors that stay in the device's memory."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trackml.errors import UsageError
from trackml.fields import DeviceName, OptimizerName
from trackml.history import EpochHook, History
from trackml.params import TorchParams
from trackml.training.loop import Rate, run_epochs
from trackml.training.objectives import CLASSIFICATION, Array, Splits
from trackml.training.precision import cpu_computes_in_bfloat16, resolve_precision
from trackml.training.schedules import Schedule, constant

Device = Literal["cpu", "cuda"]

# On a CPU what the layers give for it must fit into the cache: 128 took half the time of 1,000. On
# a GPU what VGG16's first layers give for images of 224 pixels must fit into its memory.
PREDICT_BATCH: Mapping[str, int] = {"cpu": 128, "cuda": 256}

# Fused: one call for all weights, where a loop over them would take longer than the arithmetic.
OPTIMIZERS: Mapping[OptimizerName, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, foreach=True),
}
"""Name → function of parameters and weight_decay, the factor of an L2 penalty's gradient."""


def resolve_device(asked: DeviceName) -> Device:
    """What `asked` means on this machine: "auto" is a CUDA GPU where there is one.

    Raises:
        UsageError: "cuda" was asked for, and there is none.
    """
    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise UsageError("--device cuda: PyTorch finds no CUDA GPU here; use auto or cpu")
    if asked == "auto":
        return "cuda" if available else "cpu"
    return asked


def fit(
    network: nn.Module,
    data: Splits,
    params: TorchParams,
    *,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule = constant,
    hooks: Sequence[EpochHook | None] = (),
) -> History:
    """Train a classifier, and leave in it, on its device, the weights of its best epoch.

    `params.precision` is that of the training steps alone: validation, and the network that is
    kept, are float32, so that the scores are those of the model that others will load.

    Args:
        network: inputs (N, ...) → logits (N, C).
        optimizer: of the network's parameters; its learning rate becomes that of `params`, times
            the schedule.
        schedule, hooks: as in `run_epochs`.

    Raises:
        NonFiniteLoss: the loss, or a weight, left the numbers. The hooks have not seen that epoch.
        UsageError: the device is not there.
    """
    learner = _ClassifierLearner(network, data, params, optimizer)
    return run_epochs(learner, params, schedule=schedule, hooks=hooks)


class TorchLearner:
    """What learners share: a float32 network, trained under autocast where `precision` says so."""

    def __init__(
        self, network: nn.Module, params: TorchParams, optimizer: torch.optim.Optimizer
    ) -> None:
        self.device = resolve_device(params.device)
        self.precision = resolve_precision(
            params.precision, native=_computes_in_bfloat16(self.device)
        )
        self.batch_size = params.batch_size
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.autocast = torch.autocast(
            self.device, torch.bfloat16, enabled=self.precision == "bfloat16"
        )
        self._optimizer = optimizer

    def step(self, loss: Tensor, rate: float) -> None:
        """One step of the optimiser, at that learning rate."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad()

    def get_weights(self) -> list[Array]:
        """A copy of all that the network has learnt."""
        weights = self.network.state_dict().values()
        return [weight.detach().cpu().numpy().copy() for weight in weights]

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Put back what `get_weights` gave."""
        with torch.no_grad():
            for weight, value in zip(self.network.state_dict().values(), weights, strict=True):
                weight.copy_(torch.as_tensor(value))

    def get_state(self) -> Mapping[str, Array]:
        """A copy of the weights, and of what the optimiser knows of each."""
        weights = {f"weight {n}": weight for n, weight in enumerate(self.get_weights())}
        known = self._optimizer.state_dict()["state"]
        return weights | {
            f"{name} {number}": value.detach().cpu().numpy().copy()
            for number, values in known.items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }

    def set_state(self, state: Mapping[str, Array]) -> None:
        """Put back what `get_state` gave."""
        count = len(self.network.state_dict())
        self.set_weights([state[f"weight {number}"] for number in range(count)])
        trained = [weight for group in self._optimizer.param_groups for weight in group["params"]]
        known: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            kind, number = name.rsplit(" ", 1)
            if kind != "weight":
                known.setdefault(int(number), {})[kind] = _like(trained[int(number)], value)
        old = self._optimizer.state_dict()
        self._optimizer.load_state_dict({**old, "state": known})


class _ClassifierLearner(TorchLearner):
    metric = CLASSIFICATION.metric

    def __init__(
        self,
        network: nn.Module,
        data: Splits,
        params: TorchParams,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        super().__init__(network, params, optimizer)
        inputs, targets = data.train.arrays
        self._inputs = torch.tensor(inputs, device=self.device)
        self._targets = torch.tensor(targets, device=self.device)
        self._validation = data.validation
        self.samples = len(targets)

    def train_epoch(self, rate: Rate, random: np.random.Generator) -> Mapping[str, float]:
        torch.manual_seed(int(random.integers(2**63)))  # of dropout
        samples = self.samples
        order = torch.from_numpy(random.permutation(samples)).to(self.device)
        self.network.train()
        answers = torch.empty(0)
        for first in range(0, samples, self.batch_size):
            rows = order[first : first + self.batch_size]
            with self.autocast:
                logits = self.network(self._inputs[rows])
            logits = logits.float()
            self.step(cross_entropy(logits, self._targets[rows]), rate(first / samples))
            if not first:
                # At once for all: small pieces, kept, would scatter the memory of the large ones.
                answers = logits.new_empty((samples, logits.shape[1]))
            answers[first : first + self.batch_size] = logits.detach()
        # Scored once, not batch by batch: that would be some percent of a step's time.
        targets = self._targets[order]
        return {
            "loss": float(cross_entropy(answers, targets)),
            "accuracy": float((answers.argmax(dim=1) == targets).double().mean()),
        }

    def validate(self) -> Mapping[str, float]:
        inputs, labels = self._validation.arrays
        return CLASSIFICATION.score(predict(self.network, inputs), labels)


def predict(network: nn.Module, inputs: Array) -> NDArray[np.float32]:
    """The class probabilities for inputs (N, ...), of a network that answers logits: (N, C).

    The network ends in evaluation mode.
    """
    probabilities: NDArray[np.float32] = answers(network, inputs).softmax(dim=1).numpy()
    return probabilities


def answers(network: nn.Module, inputs: Array) -> Tensor:
    """What a network on any device says to inputs (N, ...): a tensor (N, ...) on the CPU.

    The network ends in evaluation mode.
    """
    device = next(network.parameters()).device
    size = PREDICT_BATCH[device.type]
    network.eval()
    with torch.inference_mode():
        batches = [
            network(torch.tensor(inputs[row : row + size], device=device)).cpu()
            for row in range(0, len(inputs), size)
        ]
    return torch.cat(batches)


def _like(weight: Tensor, value: Array) -> Tensor:
    """A tensor of a value, laid out in memory as a weight of its shape is."""
    tensor = torch.tensor(value)  # a copy: the optimiser counts in place
    return torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor


def _computes_in_bfloat16(device: Device) -> bool:
    if device == "cpu":
        return cpu_computes_in_bfloat16()
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))

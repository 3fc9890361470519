"""PyTorch architectures. Preprocessing is part of them: their input is raw."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trackml.backends import standard_settings
from trackml.models.summary import LayerRow, check_image_shape, table
from trackml.models.tables import Encoding, Table

LOG_2 = math.log(2)
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081  # of the training pixels, black 0 to white 1

# For inference: the maximum of rows in a batch, and of bytes of a layer's outputs for them. On a
# CPU they must fit into the cache: 128 rows took half the time of 1,000.
BATCHES: Mapping[str, tuple[int, int]] = {"cpu": (128, 2**27), "cuda": (256, 2**32)}


class Standardize(nn.Module):
    """Raw pixels, uint8 (N, H, W) or (N, H, W, C) → float32 (N, 1 or C, H, W), standardized.

    Mean and standard deviation are those of MNIST's pixels.
    """

    def forward(self, pixels: Tensor) -> Tensor:
        channels_first = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        x = (channels_first.float() / 255 - MNIST_MEAN) / MNIST_STD
        return x.contiguous(memory_format=torch.channels_last)


class TableInputs(nn.Module):
    """Features float32 (N, columns), raw → float32 (N, width): the first layer for tables.

    Numbers are standardized, texts one-hot, as `Encoding` has it. A row with a value that the data
    may not have, infinite or missing, is nan.

    >>> from trackml.data import TableData
    >>> homes = torch.ones((10, 2)), torch.arange(10)
    >>> data = TableData.from_arrays("homes", homes, homes, columns=["rooms", "age"])
    >>> inputs = TableInputs(data)
    >>> network = nn.Sequential(inputs, nn.Linear(inputs.width, 1))
    """

    numbers: Tensor
    gaps: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, data: Table) -> None:
        super().__init__()
        self._encoding = Encoding.of(data)
        self.width = self._encoding.width
        # Buffers, not constants of `forward`, which a loop could not be exported with. They follow
        # from the data, so checkpoints need not have them.
        kinds = {"numbers": torch.int64, "gaps": torch.int64, "mean": torch.float32}
        for name, dtype in {**kinds, "scale": torch.float32}.items():
            value = torch.tensor(getattr(self._encoding, name), dtype=dtype)
            self.register_buffer(name, value, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        encoding = self._encoding
        numbers = features.index_select(1, self.numbers)
        x = (numbers - self.mean) / self.scale
        is_valid = features.isfinite()
        if encoding.imputes:
            x, is_valid = torch.where(numbers.isnan(), 0.0, x), is_valid | features.isnan()
        parts = [x, features.index_select(1, self.gaps).isnan().float()]
        for position, count in encoding.texts.items():
            indices = torch.arange(count, device=features.device)
            parts.append((features[:, position : position + 1] == indices).float())
        return torch.where(is_valid.all(dim=1, keepdim=True), torch.cat(parts, dim=1), torch.nan)


@standard_settings()
def mnist_cnn(
    classes: int,
    *,
    conv_layers: int = 2,
    filters: int = 16,
    dropout: float = 0.0,
    batch_norm: bool = False,
    shape: tuple[int, ...] = (28, 28),
) -> nn.Sequential:
    """Convolutions and a dense layer, for images.

    uint8 (N, *shape), raw pixels → float32 (N, classes), logits: see `with_probabilities`.

    Args:
        conv_layers: blocks of a convolution and a pooling.
        filters: channels of the first convolution; each further one has twice as many.
        dropout: rate after the dense layer, half of it after each pooling; 0 adds no such layers.
        batch_norm: normalize each convolution's output over the batch.
        shape: of an image: (height, width), or (height, width, channels).

    Raises:
        ValueError: the images are too small for so many poolings.
    """
    check_image_shape(shape, conv_layers)
    layers: OrderedDict[str, nn.Module] = OrderedDict(standardize=Standardize())
    height, width, channels = (*shape, 1)[:3]
    for number in range(1, conv_layers + 1):
        layers[f"conv{number}"] = nn.Conv2d(channels, filters, kernel_size=3, padding=1)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(filters)
        # At this size the time of a layer is that of memory access: ReLU in place, and of the
        # maxima only, which are the same.
        layers[f"pool{number}"] = nn.MaxPool2d(2)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout / 2)
        height, width = height // 2, width // 2
        channels, filters = filters, 2 * filters
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(channels * height * width, 128)
    layers["relu"] = nn.ReLU(inplace=True)
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(128, classes)
    return nn.Sequential(layers)


def with_probabilities(network: nn.Module) -> nn.Sequential:
    """The same network, shared, with class probabilities, float32 (N, classes), as its output."""
    return nn.Sequential(OrderedDict(network=network, softmax=nn.Softmax(dim=1)))


class MirrorMean(nn.Module):
    """A network of images whose answer is the mean for an image and its mirror image.

    Its logits are those of the mean of both probabilities. In training it is the network alone.

    >>> network = MirrorMean(mnist_cnn(classes=10)).eval()
    >>> image = torch.randint(256, (1, 28, 28), dtype=torch.uint8)
    >>> torch.allclose(network(image), network(image.flip(2)), atol=1e-5)
    True
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels)
        if self.training:
            return logits
        mirrored = self.network(pixels.flip(2))  # (N, H, W) or (N, H, W, C)
        return torch.logaddexp(logits.log_softmax(dim=1), mirrored.log_softmax(dim=1)) - LOG_2


def batch_size(network: nn.Module, example: Tensor) -> int:
    """Rows per batch for inference, within the limits of BATCHES.

    Args:
        network: is in evaluation mode afterwards.
        example: inputs (N, ...), on the same device.
    """
    max_rows, max_bytes = BATCHES[example.device.type]
    row_bytes = 1  # of the largest output of a layer

    def measure(_layer: nn.Module, _inputs: object, output: object) -> None:
        nonlocal row_bytes
        if isinstance(output, Tensor):  # some layers, such as LSTM, give more than one
            row_bytes = max(row_bytes, output.nbytes // max(1, len(example)))

    hooks = [layer.register_forward_hook(measure) for layer in network.modules()]
    try:
        with torch.inference_mode():
            network.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
    return max(1, min(max_rows, max_bytes // row_bytes))


class InBatches(nn.Module):
    """The same outputs, computed for a batch of rows at a time: to be exported, on the CPU.

    The loop is part of the exported program, whose memory so hardly grows with the number of rows.

    Args:
        network: takes inputs (N, ...); is in evaluation mode afterwards.
        example: inputs, of at least two rows.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.network, self.batch_size = network, batch_size(network, example)
        with torch.no_grad():
            outputs = network(example)
        self.row_shape, self.dtype = outputs.shape[1:], outputs.dtype

    def forward(self, inputs: Tensor) -> Tensor:
        count = inputs.shape[0]  # N; len() would fix it to that of the example
        # Each load of the program parses these terms once per layer: they are short, not exact.
        batches = count // max(1, self.batch_size - 1) + 1
        # Rows of each batch, of which the last two may overlap. Programs for one row and for more
        # would differ: the exporter must see that two rows in give no batch of one.
        size = torch.sym_min(count, count // batches + 2)
        weights = dict(self.network.named_parameters()) | dict(self.network.named_buffers())

        def is_left(first: Tensor, _outputs: Tensor, count: int, *_: Any) -> Tensor:
            return first < count

        def add_batch(
            first: Tensor, outputs: Tensor, count: int, size: int, inputs: Tensor, *values: Tensor
        ) -> tuple[Tensor, Tensor]:
            rows = first.clamp(max=count - size) + torch.arange(size, device=inputs.device)
            state = dict(zip(weights, values, strict=True))
            batch = functional_call(self.network, state, (inputs[rows],))
            return first + size, outputs.index_copy(0, rows, batch)

        first = torch.tensor(0, device=inputs.device)
        none = torch.zeros((count, *self.row_shape), dtype=self.dtype, device=inputs.device)
        # What torch.while_loop calls, after it has compiled the functions, which not all allow.
        loop = torch.ops.higher_order.while_loop
        outputs: Tensor = loop(
            is_left, add_batch, (first, none), (count, size, inputs, *weights.values())
        )[1]
        return outputs


def describe(network: nn.Module, example: Tensor) -> tuple[int, str]:
    """The number of trainable parameters, and a table of the layers.

    Args:
        network: is in evaluation mode afterwards.
        example: an input (N, ...), to find the shapes of outputs.
    """
    rows: list[LayerRow] = []

    def add_row(name: str, layer: nn.Module, _inputs: object, output: object) -> None:
        shape = ""
        if isinstance(output, Tensor):
            # Some layers of a detector have an output per region, not per image.
            count = "N" if len(output) == len(example) else "regions"
            shape = " x ".join([count, *map(str, output.shape[1:])])
        parameters = sum(weight.numel() for weight in layer.parameters())
        rows.append(LayerRow(name, type(layer).__name__, shape, parameters))

    hooks = [
        layer.register_forward_hook(partial(add_row, name))
        for name, layer in network.named_modules()
        if not list(layer.children())
    ]
    with torch.no_grad():
        network.eval()(example)
    for hook in hooks:
        hook.remove()
    trainable = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return trainable, table(rows, trainable)

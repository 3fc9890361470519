"""Convolutions to few pixels as matrix products (im2col), for processors with AMX."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from trackml.training.precision import cpu_has_amx

MAX_PIXELS = 16  # of an output: more gain hardly anything, and the patches take memory
MIN_WEIGHTS = 2**15  # smaller products cost less than the copies that they need


def fast_convolutions(
    network: nn.Module, device: str, precision: str
) -> AbstractContextManager[None]:
    """For training steps: `as_products` in bfloat16 on a CPU with AMX, else as the network is."""
    is_faster = device == "cpu" and precision == "bfloat16" and cpu_has_amx()
    return as_products(network) if is_faster else nullcontext()


@contextmanager
def as_products(network: nn.Module) -> Iterator[None]:
    """In this context, large convolutions to at most 16 pixels are matrix products.

    That is so under the CPU's autocast only. Outputs and gradients stay the same, up to rounding.
    Gradients of gradients, and vmap, fail there.
    """
    layers = [layer for layer in network.modules() if _is_large(layer)]
    for layer in layers:
        vars(layer)["forward"] = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _is_large(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(layer) is nn.Conv2d  # a subclass may have a forward of its own
        and "forward" not in vars(layer)
        and layer.weight.numel() >= MIN_WEIGHTS
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _forward(layer: nn.Conv2d, input: Tensor) -> Tensor:  # noqa: A002 (Conv2d's own name)
    if not _has_few_outputs(layer, input):
        return nn.Conv2d.forward(layer, input)
    dtype, (height, width) = torch.get_autocast_dtype("cpu"), _size(layer, input)
    product: Tensor = _Product.apply(
        input.to(dtype), layer.weight.to(dtype), layer.stride, layer.padding
    )
    if layer.bias is not None:
        product = product + layer.bias.to(dtype)
    return product.view(len(input), height, width, -1).permute(0, 3, 1, 2)


def _has_few_outputs(layer: nn.Conv2d, images: Tensor) -> bool:
    """False for all that PyTorch should answer or refuse itself, too."""
    if images.ndim != 4 or not len(images) or images.shape[1] != layer.in_channels:
        return False
    if not torch.is_autocast_enabled("cpu") or images.dtype not in (torch.float32, torch.bfloat16):
        return False
    height, width = _size(layer, images)
    return height > 0 and width > 0 and height * width <= MAX_PIXELS


def _size(layer: nn.Conv2d, images: Tensor) -> tuple[int, int]:
    """Height and width of the outputs."""
    paddings: Sequence[int] = layer.padding  # type: ignore[assignment]  # no text: see _is_large
    sides = zip(images.shape[2:], layer.kernel_size, layer.stride, paddings, strict=True)
    height, width = ((side + 2 * p - kernel) // stride + 1 for side, kernel, stride, p in sides)
    return height, width


class _Product(torch.autograd.Function):
    """Images (N, C, H, W) and weights (O, C, *kernel) → (N * height * width, O)."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
    ) -> Tensor:
        (rows, columns), (outputs, channels, *kernel) = padding, weight.shape
        padded = pad(images.permute(0, 2, 3, 1), (0, 0, columns, columns, rows, rows))
        patches = padded.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
        patches = patches.permute(0, 1, 2, 4, 5, 3)  # (N, height, width, *kernel, C)
        ctx.stride, ctx.padding = stride, padding
        ctx.padded_shape, ctx.patches_shape = padded.shape, patches.shape
        matrix = patches.reshape(-1, kernel[0] * kernel[1] * channels)
        filters = weight.permute(0, 2, 3, 1).reshape(outputs, -1)
        needs_images, needs_weight, *_ = ctx.needs_input_grad
        ctx.save_for_backward(matrix if needs_weight else None, filters if needs_images else None)
        return matrix @ filters.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        matrix, filters = ctx.saved_tensors
        of_images = of_weight = None
        if filters is not None:
            patches = (gradient @ filters).view(ctx.patches_shape)
            of_images = _sum_patches(patches, ctx.stride, ctx.padded_shape)
            (rows, columns), (_, height, width, _) = ctx.padding, ctx.padded_shape
            of_images = of_images[:, rows : height - rows, columns : width - columns]
            of_images = of_images.permute(0, 3, 1, 2)
        if matrix is not None:
            _, _, _, *kernel, channels = ctx.patches_shape
            of_weight = (gradient.T @ matrix).view(-1, *kernel, channels).permute(0, 3, 1, 2)
        return of_images, of_weight, None, None


def _sum_patches(patches: Tensor, stride: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Patches (N, height, width, *kernel, C) at their places in images (N, H, W, C): col2im."""
    _, height, width, *kernel, _ = patches.shape
    images = patches.new_zeros(shape, dtype=torch.float32)
    for row in range(height):
        for column in range(width):
            top, left = row * stride[0], column * stride[1]
            place = images[:, top : top + kernel[0], left : left + kernel[1]]
            place += patches[:, row, column]
    return images.to(patches.dtype)

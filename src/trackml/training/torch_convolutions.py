"""Convolutions to few pixels as matrix products, for processors that multiply matrices in tiles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

MOST_PIXELS = 16  # of an output: with more of them, the patches take longer than they save


def multiplies_tiles(device: str) -> bool:
    """True of a CPU that multiplies matrices of bfloat16 in tiles (AMX)."""
    return device == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


@contextmanager
def as_products(network: nn.Module) -> Iterator[None]:
    """In this context, convolutions whose output has at most 16 pixels are matrix products.

    Their outputs and gradients stay the same, up to rounding. In bfloat16, on processors with AMX,
    a step of VGG16 takes half as long.
    """
    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d) and _is_plain(each)]
    for layer in layers:
        vars(layer)["forward"] = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _is_plain(layer: nn.Conv2d) -> bool:
    return (
        type(layer) is nn.Conv2d  # a subclass may have a forward of its own
        and "forward" not in vars(layer)
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _forward(layer: nn.Conv2d, images: Tensor) -> Tensor:
    padding: Sequence[int] = layer.padding  # type: ignore[assignment]  # no string: see _is_plain
    sides = zip(images.shape[2:], layer.kernel_size, layer.stride, padding, strict=True)
    height, width = ((side + 2 * p - k) // s + 1 for side, k, s, p in sides)
    if height * width > MOST_PIXELS:
        return nn.Conv2d.forward(layer, images)
    is_autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if is_autocast else images.dtype
    weight = layer.weight.to(dtype)
    product: Tensor = _Product.apply(images.to(dtype), weight, layer.stride, padding)
    return product if layer.bias is None else product + layer.bias.to(dtype).view(-1, 1, 1)


class _Product(torch.autograd.Function):
    """Images (N, C, H, W) and weights (O, C, *kernel) → (N, O, height, width), channels last."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
    ) -> Tensor:
        (rows, columns), (outputs, _, *kernel) = padding, weight.shape
        padded = pad(images.permute(0, 2, 3, 1), (0, 0, columns, columns, rows, rows))
        patches = padded.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
        count, height, width = patches.shape[:3]
        matrix = patches.permute(0, 1, 2, 4, 5, 3).reshape(count * height * width, -1)
        filters = weight.permute(0, 2, 3, 1).reshape(outputs, -1)
        ctx.save_for_backward(matrix, filters)
        ctx.stride, ctx.padding, ctx.kernel, ctx.padded = stride, padding, kernel, padded.shape
        product = matrix @ filters.T
        return product.view(count, height, width, outputs).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        matrix, filters = ctx.saved_tensors
        count, outputs, height, width = gradient.shape
        by_pixel = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            patches = (by_pixel @ filters).view(count, height, width, *ctx.kernel, -1)
            of_images = _add_patches(patches, ctx.stride, ctx.padded)
            rows, columns = ctx.padding
            _, bottom, right, _ = ctx.padded
            of_images = of_images[:, rows : bottom - rows, columns : right - columns]
            of_images = of_images.permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            of_weight = (by_pixel.T @ matrix).view(outputs, *ctx.kernel, -1).permute(0, 3, 1, 2)
        return of_images, of_weight, None, None


def _add_patches(patches: Tensor, stride: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Patches (N, height, width, *kernel, C) at their places in images (N, H, W, C)."""
    _, height, width, *kernel, _ = patches.shape
    images = patches.new_zeros(shape, dtype=torch.float32)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            rows = slice(row, row + stride[0] * (height - 1) + 1, stride[0])
            columns = slice(column, column + stride[1] * (width - 1) + 1, stride[1])
            images[:, rows, columns] += patches[:, :, :, row, column]
    return images.to(patches.dtype)

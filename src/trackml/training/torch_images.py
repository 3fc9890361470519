"""`Changes` of images in PyTorch."""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from trackml.training.augmentation import Changes


def on_device(changes: Changes, size: tuple[int, ...], device: str) -> Changes:
    """The same changes, of images of (height, width, ...), as tensors.

    The maps are those of `affine_grid`, for which places are from -1 to 1, from edge to edge.
    """
    maps, boxes, shares = (
        None if part is None else torch.tensor(part, device=device) for part in changes
    )
    if maps is not None:
        height, width = size[:2]
        # From -1 to 1 → pixels, and back.
        to_pixels = [[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]]
        scale = torch.tensor([[2 / width], [2 / height]], device=device)
        offset = torch.tensor([1 / width - 1, 1 / height - 1], device=device)
        maps = maps @ torch.tensor(to_pixels, device=device) * scale
        maps[:, :, 2] += offset
    return Changes(maps, boxes, shares)


def change(images: Tensor, changes: Changes) -> Tensor:
    """Images moved, erased and mixed, of the same shape: (B, H, W) or (B, H, W, C)."""
    if changes.maps is not None:
        images = _resample(images, changes.maps)
    if changes.boxes is not None:
        images = images.masked_fill(_erased(changes.boxes, images), 0)
    return images if changes.shares is None else mix(images, changes.shares)


def mix(values: Tensor, shares: Tensor) -> Tensor:
    """Each row (B, ...) with the one at the same place from the end."""
    shares = shares.reshape(-1, *[1] * (values.ndim - 1))
    return shares * values + (1 - shares) * values.flip(0)


def _resample(images: Tensor, maps: Tensor) -> Tensor:
    is_gray = images.ndim == 3
    channels_first = images.unsqueeze(1) if is_gray else images.permute(0, 3, 1, 2)
    grid = affine_grid(maps, list(channels_first.shape), align_corners=False)
    moved = grid_sample(channels_first.float(), grid, align_corners=False)
    return moved.squeeze(1) if is_gray else moved.permute(0, 2, 3, 1)


def _erased(boxes: Tensor, images: Tensor) -> Tensor:
    """True for each pixel in a box: (B, H, W), with an axis of size 1 for channels."""
    height, width = images.shape[1:3]
    top, bottom, left, right = boxes.T.unsqueeze(-1)
    y, x = (torch.arange(side, device=images.device) for side in (height, width))
    rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
    erased: Tensor = rows.unsqueeze(2) & columns.unsqueeze(1)
    return erased.reshape(*erased.shape, *[1] * (images.ndim - 3))

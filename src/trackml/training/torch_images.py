"""`Changes` of images in PyTorch."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from trackml.training.augmentation import Changes


def on_device(changes: Changes, device: str) -> Changes:
    """The same changes as tensors."""
    parts = (None if part is None else torch.tensor(part, device=device) for part in changes)
    return Changes(*parts)


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
    height, width = images.shape[1:3]
    device = images.device
    x = torch.arange(width, device=device).expand(height, width)
    y = torch.arange(height, device=device).unsqueeze(1).expand(height, width)
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1).float()  # (H, W, 3)
    # (B, H * W, 2): x, y; grid_sample wants them from -1 to 1, from edge to edge of the image.
    places = pixels.reshape(1, -1, 3) @ maps.transpose(1, 2)
    sides = torch.tensor([width, height], device=device)
    grid = ((2 * places + 1) / sides - 1).reshape(-1, height, width, 2)
    is_gray = images.ndim == 3
    channels_first = images.unsqueeze(1) if is_gray else images.permute(0, 3, 1, 2)
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

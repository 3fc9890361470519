"""Datasets as arrays with fixed splits, verified on every load."""

from trackml.data.datasets import ImageData, ImageSplit, TableData, TableSplit, load

__all__ = ["ImageData", "ImageSplit", "TableData", "TableSplit", "load"]

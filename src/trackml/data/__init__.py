"""Datasets as arrays with fixed splits, verified on every load."""

from trackml.data.arrays import ImageData, ImageSplit, TableData, TableSplit
from trackml.data.datasets import dataset, load

__all__ = ["ImageData", "ImageSplit", "TableData", "TableSplit", "dataset", "load"]

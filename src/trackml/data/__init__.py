"""Datasets as arrays with fixed splits, verified on every load."""

from trackml.data.datasets import dataset, load
from trackml.data.images import ImageData, ImageSplit
from trackml.data.tables import TableData, TableSplit

__all__ = ["ImageData", "ImageSplit", "TableData", "TableSplit", "dataset", "load"]

"""The graph of a PyTorch model, as Graphviz draws it."""

import copy
import logging
import shutil

import torchviz
from torch import Tensor, nn

from trackml.evaluation.report import Report

_log = logging.getLogger(__name__)


def draw_graph(network: nn.Module, example: Tensor) -> Report:
    """The operations between an example's answers and the weights that they depend on.

    The source always; the drawing where Graphviz's `dot` is installed, else a line in the log.

    Args:
        example: inputs (N, ...) of the network.
    """
    # A copy: in training, layers such as batch normalisation learn from what they see.
    trained = copy.deepcopy(network).train()
    weights = dict(trained.named_parameters())
    graph = torchviz.make_dot(trained(example), params=weights)
    texts = {"figures/model_graph.gv": graph.source}
    if shutil.which("dot"):
        texts["figures/model_graph.svg"] = graph.pipe(format="svg", encoding="utf-8")
    else:
        _log.warning(
            "Graphviz's `dot` is not installed: the model's graph is logged as source only"
        )
    return Report(texts=texts)

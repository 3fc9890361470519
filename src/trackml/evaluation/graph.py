"""The graph of a PyTorch model, drawn by Graphviz."""

import copy
import logging
import shutil

import torchviz
from torch import Tensor, nn

from trackml.evaluation.report import Report

_log = logging.getLogger(__name__)


def draw_graph(network: nn.Module, example: Tensor) -> Report:
    """The operations from the weights to the outputs for an example (N, ...).

    Always as source; also as a drawing if Graphviz's `dot` is installed, otherwise a warning is
    logged.
    """
    # A copy: in training mode, layers such as batch normalization change with each forward pass.
    trained = copy.deepcopy(network).train()
    graph = torchviz.make_dot(trained(example), params=dict(trained.named_parameters()))
    texts = {"figures/model_graph.gv": graph.source}
    if shutil.which("dot"):
        texts["figures/model_graph.svg"] = graph.pipe(format="svg", encoding="utf-8")
    else:
        _log.warning("Graphviz's `dot` is not installed: logged the model's graph as source only")
    return Report(texts=texts)

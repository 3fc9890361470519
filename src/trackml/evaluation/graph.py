"""The graph of a PyTorch model, drawn by Graphviz."""

import copy
import logging
import shutil
from functools import cache
from typing import Any

import torchviz
from torch import Tensor, nn

from trackml.evaluation.report import Report

LEGEND = "blue: weights; gray: operations; green: outputs; in parentheses: shapes"

_log = logging.getLogger(__name__)


def draw_graph(network: nn.Module, example: Tensor, caption: str = "") -> Report:
    """The operations from the weights to the outputs for an example (N, ...).

    Always as source; also as a drawing if Graphviz's `dot` is installed, otherwise a warning is
    logged.

    Args:
        caption: below it: what it is of.
    """

    @cache
    def graph() -> Any:
        # A copy: in training mode, layers such as batch normalization change with each pass.
        trained = copy.deepcopy(network).train()
        dot = torchviz.make_dot(trained(example), params=dict(trained.named_parameters()))
        dot.name = "model_graph"
        escaped = caption.replace("\\", "\\\\")
        dot.attr(label=f"{LEGEND}\\n{escaped}", fontsize="10")
        return dot

    def drawing() -> str | None:
        if not shutil.which("dot"):
            _log.warning(
                "Graphviz's `dot` is not installed: logged the model's graph as source only"
            )
            return None
        return str(graph().pipe(format="svg", encoding="utf-8"))

    texts = {"figures/model_graph.gv": lambda: graph().source, "figures/model_graph.svg": drawing}
    return Report(texts=texts)

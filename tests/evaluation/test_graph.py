import copy
import shutil

import pytest
import torch

from tests.evaluation.drawing import text_of
from trackml.evaluation.graph import draw_graph
from trackml.models.torch import mnist_cnn

EXAMPLE = torch.zeros((2, 28, 28), dtype=torch.uint8)


def test_the_graph_names_all_weights_and_leaves_the_network_as_it_was() -> None:
    network = mnist_cnn(10, dropout=0.3, batch_norm=True).eval()
    before = copy.deepcopy(network.state_dict())
    source = text_of(draw_graph(network, EXAMPLE, "data mnist"), "figures/model_graph.gv")
    assert "data mnist" in source
    for name, _ in network.named_parameters():
        assert name in source
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_without_dot_the_source_is_there_alone_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "")
    report = draw_graph(mnist_cnn(10), EXAMPLE)
    made = {path for path in report.paths if report.content_of(path)}
    assert made == {"figures/model_graph.gv"}
    (line,) = caplog.messages
    assert "`dot` is not installed" in line


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz's dot is not installed")
def test_with_dot_it_is_drawn() -> None:
    drawing = text_of(draw_graph(mnist_cnn(10), EXAMPLE), "figures/model_graph.svg")
    assert drawing.startswith("<?xml")
    assert "conv1.weight" in drawing

"""What a report on the mean of several models says of each."""

from collections.abc import Callable
from typing import Any

from trackml.evaluation.report import Report, as_json
from trackml.models.ensemble import Ensemble


def with_weights(evaluate: Callable[..., Report], ensemble: Ensemble) -> Callable[..., Report]:
    """The same evaluation, whose report also has each member's weight and validation scores."""
    members = [
        {
            "member": member.address,
            "run_id": member.run_id,
            "framework": member.framework,
            "architecture": member.architecture,
            "weight": weight,
            **{f"val_{name}": value for name, value in scores.items()},
        }
        for member, weight, scores in zip(
            ensemble.members, ensemble.weights, ensemble.scores, strict=True
        )
    ]
    metrics = {
        f"member_{number}_{name}": value
        for number, member in enumerate(members, start=1)
        for name, value in member.items()
        if isinstance(value, float)
    }
    texts = {"reports/weights.json": lambda: as_json({"members": members})}

    def evaluate_with_weights(*args: Any) -> Report:
        return evaluate(*args) | Report(metrics, texts)

    return evaluate_with_weights

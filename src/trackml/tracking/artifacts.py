"""Texts, figures and pictures in an outbox, as far as they can be made: all are optional."""

import io
import logging
import uuid
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES

from trackml.data import ImageData
from trackml.data.canvases import DetectionData, Objects
from trackml.errors import one_line
from trackml.evaluation.report import Report
from trackml.progress import Progress
from trackml.tracking.outbox import MISSING_TAG, Link, Outbox, RunState, now_ms

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SHOWN = 300  # characters of a reason: LaTeX's have pages
MAX_PICTURES = 8  # of a run
PICTURES = "images/validation_images"

_log = logging.getLogger(__name__)


def add_report(
    outbox: Outbox, report: Report, linked: Link, progress: Progress | None = None
) -> None:
    """Keep the numbers of a report, and its texts and figures as far as they can be made."""
    outbox.add_metrics(report.metrics, linked)
    caption = caption_of(outbox.state, outbox.run_id)
    makers = {path: partial(report.content_of, path, caption) for path in report.paths}
    _add(makers, outbox, progress or Progress())


def caption_of(state: RunState, run_id: str) -> str:
    """What each figure of a run says of it: model, data and run."""
    architecture = state.tags.get("trackml.architecture", state.name)
    framework = state.tags.get("trackml.framework")
    task = state.tags.get("trackml.task", state.experiment)
    name = "" if state.name == architecture else f"{state.name} "
    parts = [architecture + f" ({framework})" * bool(framework), f"data {task}"]
    return " · ".join([*parts, f"run {name}{run_id}"])


def add_picture(
    outbox: Outbox, data: ImageData | DetectionData, epoch: int, epochs: int, answers: Any
) -> None:
    """Keep a picture of validation images with answers, where MLflow shows one per step.

    Of the first and the last epoch, and at most 6 between them. A run that resumes keeps the
    picture that an epoch has.
    """
    # As `MlflowClient.log_image` names it, which would need a server that responds.
    stem = f"{PICTURES}+step+{epoch}+timestamp+"
    shown = np.linspace(1, epochs, min(MAX_PICTURES, epochs)).round()
    has_one = any(name.startswith(stem) for name in outbox.artifacts)
    has_failed = PICTURES in outbox.state.tags.get(MISSING_TAG, "")
    if epoch not in shown or has_one or has_failed or not _suits(data, answers):
        return
    from trackml.evaluation.figures.progress import draw_progress  # here, as it loads seaborn

    title = f"{data.name}: validation images after epoch {epoch} of {epochs}"
    caption = caption_of(outbox.state, outbox.run_id)

    @cache
    def picture() -> "Image":
        return draw_progress(data, answers, title, caption)

    name = f"{stem}{now_ms()}+{uuid.uuid4()}"
    makers: dict[str, Callable[[], bytes]] = {
        f"{name}.png": lambda: _encoded(picture(), "png"),
        f"{name}+compressed.webp": lambda: _encoded(compress_image_size(picture()), "webp"),
    }
    _add(makers, outbox, Progress())
    outbox.update(tags={MLFLOW_LOGGED_IMAGES: "True"})


def _suits(data: ImageData | DetectionData, answers: Any) -> bool:
    """True if a fit was given the data of the run, and says what it answered."""
    if isinstance(data, DetectionData):
        return isinstance(answers, Objects)
    return isinstance(answers, np.ndarray) and len(answers) == len(data.validation)


def _encoded(picture: "Image", kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def _add(
    makers: Mapping[str, Callable[[], bytes | None]], outbox: Outbox, progress: Progress
) -> None:
    """Keep what each makes, path → content; one warning and a tag name what is missing."""
    reasons: dict[str, str] = {}
    for path, make in makers.items():
        progress.stage(f"making {path}")
        try:
            content = make()
            if content is not None:
                outbox.add_artifact(path, partial(Path.write_bytes, data=content))
        except Exception as error:  # noqa: BLE001  # of any kind
            reasons[path] = f"{type(error).__name__}: {one_line(error)}"[:LONGEST_SHOWN]
    outbox.set_missing(reasons, among=makers)
    if reasons:
        why = "; ".join(dict.fromkeys(reasons.values()))
        _log.warning("warning: the run goes on without %s (%s)", ", ".join(reasons), why)

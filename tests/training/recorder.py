"""A run that records what training reports, in memory, and its checkpoints in a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trackml.history import Callback
from trackml.progress import Progress
from trackml.training.checkpoint import Checkpoint, read, write


@dataclass
class Recorder:
    """Every epoch in order. With a file, training continues from it.

    `callback` is called after the checkpoint is written, and what it returns stops training.
    """

    file: Path | None = None
    callback: Callback = lambda _epoch, _metrics: None
    epochs: list[int] = field(default_factory=list)
    metrics: list[Mapping[str, float]] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def resume_point(self) -> Checkpoint | None:
        return read(self.file)[0] if self.file and self.file.exists() else None

    def show_progress(self, epoch: int, epochs: int, answers: object) -> None:
        """Nothing is shown."""

    def log_epoch(
        self, epoch: int, metrics: Mapping[str, float], checkpoint: Callable[[], Checkpoint]
    ) -> str | None:
        saved = checkpoint()
        if self.file:
            write(self.file, saved, {})
        self.epochs.append(epoch)
        self.metrics.append(metrics)
        self.checkpoints.append(saved)
        return self.callback(epoch, metrics)

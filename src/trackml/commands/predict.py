"""The command `trackml predict`."""

import sys
from pathlib import Path

from trackml import predict
from trackml.errors import UsageError
from trackml.files import replace_file


def show_predictions(model: str, file: Path, output: Path | None, *, resize: bool) -> None:
    """Answer a file, and write the answers as CSV: to another file, or to standard output."""
    if output and not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}")
    table = predict(model, file, resize=resize)
    text = table.to_csv()
    if output is None:
        sys.stdout.write(text)
        return
    replace_file(output, lambda target: target.write(text.encode()))
    print(f"wrote {len(table):,} rows to {output}")

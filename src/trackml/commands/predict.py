"""The command `trackml predict`."""

from pathlib import Path

from trackml import predict
from trackml.errors import TrackmlError, UsageError
from trackml.files import replace_file
from trackml.process.streams import write_output


def show_predictions(
    model: str, file: Path, output: Path | None, *, resize: bool, separator: str, decimal: str
) -> None:
    """Answer a file, and write the answers as CSV: to another file, or to standard output.

    Raises:
        UsageError: `output` is a folder, or in none that exists; or as `trackml.predict` has it.
        TrackmlError: the answers could not be written.
    """
    if output and not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}")
    if output and output.is_dir():
        raise UsageError(f"--output {output}: that is a folder; expected the path of a file")
    table = predict(model, file, resize=resize, separator=separator, decimal=decimal)
    text = table.to_csv()
    try:
        if output is None:
            write_output(text)
            return
        replace_file(output, lambda target: target.write(text.encode()))
    except OSError as error:
        place = f"to --output {output}" if output else "to standard output"
        raise TrackmlError(f"cannot write the answers {place}: {error.strerror or error}") from None
    print(f"wrote {len(table):,} rows to {output}")

"""MLproject and the reference page are what the pipelines' parameters say."""

from docs import generate
from tests.conftest import ROOT


def test_mlproject_and_the_reference_page_are_up_to_date() -> None:
    assert (ROOT / "MLproject").read_text() == generate.mlproject(), "run `make generated`"
    assert (ROOT / "docs/reference.md").read_text() == generate.reference(), "run `make generated`"

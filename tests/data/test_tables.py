"""Tables of one's own: as arrays, as frames of pandas, and in files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from trackml.data import TableData
from trackml.errors import UsageError


def table_of(features: Any, target: Any, columns: str = "ab", **options: Any) -> TableData:
    part = (features, target)
    options = {"validation_split": 0.5, "keep_order": True} | options
    return TableData.from_arrays("own", part, part, columns=columns, **options)


def test_arrays_are_split_and_have_a_checksum() -> None:
    rows = np.arange(20).reshape(10, 2)
    data = table_of(rows, np.arange(10.0))
    assert data.train.features.dtype == data.train.target.dtype == np.float32
    np.testing.assert_array_equal(data.validation.features, rows[5:])
    assert not any(array.flags.writeable for array in (*data.train.arrays, *data.test.arrays))
    assert (data.columns, data.classes, data.missing) == (("a", "b"), (), "refuse")
    assert data.sha256 == table_of(rows, np.arange(10)).sha256
    assert data.sha256 != table_of(rows, np.ones(10)).sha256


def test_frames_and_lists_are_arrays_too() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [5, 6, 7, 8]})
    data = table_of(frame, frame["b"])
    assert data.sha256 == table_of(frame.to_numpy().tolist(), frame["b"].tolist()).sha256
    np.testing.assert_array_equal(data.validation.target, [7, 8])


def test_a_target_may_be_classes() -> None:
    labels = np.arange(8, dtype=np.uint8) % 2
    data = table_of(np.ones((8, 2)), labels, classes=["no", "yes"])
    assert data.classes == ("no", "yes")
    assert data.train.target.dtype == np.int64
    assert data.sha256 != table_of(np.ones((8, 2)), labels, classes=["no", "ja"]).sha256


ONES = np.ones((4, 2))


@pytest.mark.parametrize(
    ("features", "target", "options", "message"),
    [
        (np.ones((4, 1)), np.ones(4), {}, r"\(N, 2\), a column for each of a, b.*\(4, 1\)"),
        (ONES, np.ones((4, 1)), {}, r"the target \(N,\), .* Received: .* \(4, 1\)"),
        (np.ones((3, 2)), np.ones(4), {}, r"Received: \(3, 2\) and \(4,\)"),
        (ONES, np.float64(1), {}, r"Received: \(4, 2\) and \(\)"),
        ([[1, 2], [3, 4]], [1, 2, 3], {}, r"Received: \(2, 2\) and \(3,\)"),
        (np.ones((0, 2)), np.ones(0), {}, r"N >= 1\. Received: \(0, 2\) and \(0,\)"),
        (ONES, np.ones(4), {"columns": "aa"}, "each column needs its own name"),
        (ONES, np.ones(4), {"target_name": "b"}, "each column needs its own name"),
        (ONES, np.ones(4), {"classes": "xx"}, "each class needs its own name"),
        (ONES, np.ones(4), {"classes": "xy"}, r"must be integers, indices .* Received: float64"),
        (ONES, [0, 1, 2, 0], {"classes": "xy"}, r"indices of the 2 classes\. Received: 0 to 2"),
        (ONES, np.ones(4), {"missing": "drop"}, r"\"refuse\" or \"impute\"\. Received: 'drop'"),
        (ONES, np.ones(4), {"categories": {"b": ["x"]}}, "'b' must be indices of its 1 texts"),
    ],
)
def test_arrays_are_checked(
    features: Any, target: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        table_of(features, target, **options)


def with_value(value: float, column: int = 1) -> Any:
    return np.where(np.arange(8).reshape(4, 2) % 4 == column, value, 1.0)


@pytest.mark.parametrize(
    ("features", "target", "missing", "message"),
    [
        (with_value(np.nan), ONES[:, 0], "refuse", r'missing values in b \(4\); missing="impute"'),
        (with_value(np.inf), ONES[:, 0], "impute", r"infinite values in b \(4\)"),
        (with_value(1e39, 0), ONES[:, 0], "impute", r"infinite values in a \(4\)"),
        (ONES, [1, np.nan, 1, np.inf], "impute", r"no finite 'target' in 4 of 8 rows \(2, 4, 6"),
    ],
)
def test_values_that_are_missing_or_infinite_are_counted(
    features: Any, target: Any, missing: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        table_of(features, target, missing=missing)


def birds(rows: int = 60, **columns: Any) -> pd.DataFrame:
    """A table of numbers, truth values and texts, in which values are missing."""
    number = np.arange(rows)
    return pd.DataFrame(
        {
            "wing": np.where(number % 7, number / 10, np.nan),
            "color": pd.Series(["brown", "gray", None]).repeat(rows // 3).to_numpy(),
            "nests": number % 4 == 0,
            "kind": np.array(["owl", "tit", "emu"])[number % 3],
        }
    ).assign(**columns)


def read(frame: pd.DataFrame, target: str = "kind", **options: Any) -> TableData:
    return TableData.from_frame("birds", frame, target=target, **{"missing": "impute"} | options)


def files(tmp_path: Path, frame: pd.DataFrame, **options: Any) -> list[TableData]:
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    options = {"target": "kind", "missing": "impute"} | options
    return [
        TableData.from_csv("birds", tmp_path / "a.csv", **options),
        TableData.from_parquet("birds", tmp_path / "a.parquet", **options),
    ]


def test_a_frame_a_csv_and_a_parquet_file_are_the_same_data(tmp_path: Path) -> None:
    data = read(birds())
    assert data.classes == ("emu", "owl", "tit")
    assert data.columns == ("wing", "color", "nests")
    assert data.categories == {"color": ("brown", "gray")}
    for other in files(tmp_path, birds()):
        assert (other.sha256, other.categories) == (data.sha256, data.categories)
        assert other.source.startswith(str(tmp_path / "a."))
    assert data.sha256 != read(birds().replace({"color": {"gray": "grey"}})).sha256


KINDS = st.sampled_from(["str", "object", "category", "string"])


@given(KINDS, st.integers(0, 5), st.lists(st.sampled_from(["x", "y", "é ", None]), min_size=9))
def test_rows_are_given_back_as_they_were_written(kind: Any, seed: int, texts: list[Any]) -> None:
    column = pd.Series([*texts, "x", "x", "y"], dtype=kind)
    frame = pd.DataFrame({"text": column, "number": range(len(column)), "y": 0.5})
    data = read(frame, "y", split_seed=seed, drop=[])
    parts = [data.as_frame(each.features) for each in (data.train, data.validation, data.test)]
    whole = pd.concat(parts).sort_values("number", ignore_index=True)
    assert [each.dtypes.astype(str).tolist() for each in parts] == [["object", "float32"]] * 3
    assert whole["text"].replace({np.nan: None}).tolist() == texts + ["x", "x", "y"]


@pytest.mark.parametrize(
    ("target", "kind", "classes", "counts"),
    [
        (["x", "y", "y"], "str", None, {"x": 20, "y": 40}),
        (["x", "y", "y"], "object", ["y", "x"], {"y": 40, "x": 20}),
        (["x", "y", "y"], "category", None, {"x": 20, "y": 40}),
        ([10, 9, 9], "category", None, {"9": 40, "10": 20}),
        ([True, False, False], "bool", None, {"False": 40, "True": 20}),
        ([0, 1, 1], "int64", ["no", "yes"], {"no": 20, "yes": 40}),
        ([0, 1, 1], "int64", None, {}),
        ([0.5, 1, 1], "float64", None, {}),
    ],
)
def test_a_target_of_texts_is_classes_and_one_of_numbers_is_a_quantity(
    target: Any, kind: Any, classes: Any, counts: dict[str, int]
) -> None:
    data = read(birds(kind=pd.Series(target * 20, dtype=kind)), classes=classes)
    whole = np.concatenate([each.target for each in (data.train, data.validation, data.test)])
    assert data.classes == tuple(counts)
    assert whole.dtype == (np.int64 if counts else np.float32)
    if counts:
        assert np.bincount(whole).tolist() == list(counts.values())


NO_TARGET = birds().assign(kind=np.repeat(["owl", None], [40, 20]))


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (birds(), {"target": "kid"}, "there is no column 'kid'; did you mean 'kind'"),
        (birds(), {"target": "xyz"}, "no column 'xyz'; it has wing, color, nests, kind"),
        (birds(), {"drop": ["wings"]}, "no column 'wings'; did you mean 'wing'"),
        (birds(), {"drop": ["kind"]}, "'kind' is the target"),
        (birds().iloc[:0], {}, r"Received: 0 rows, 3 columns"),
        (birds()[["kind"]], {}, r"columns beside the target\. Received: 60 rows, 0 columns"),
        (pd.concat([birds(), birds()[["wing"]]], axis=1), {}, "its own name; twice: wing"),
        (NO_TARGET, {}, r"no 'kind' in 20 of 60 rows \(41, 42, 43, 44, 45 and 15 more\)"),
        (birds(), {"missing": "refuse"}, r"missing values in wing \(9\), color \(20\)"),
        (birds(x=np.nan), {}, "column 'x' has no values; leave it out by drop="),
        (birds(x=np.inf), {}, r"infinite values in x \(60\)"),
        (birds(x=[1] * 9 + ["?"] * 2 + [2.5] * 49), {}, r"'x' mixes .* row 10 is '\?', where"),
        (birds(x=["a"] * 30 + [7] + ["b"] * 29), {}, "row 31 is '7', where most are texts"),
        (birds(x=pd.Timestamp("2020-02-01")), {}, "'x' has dates, such as '2020-02-01 .* in row 1"),
        (birds(x="1.2.2020"), {}, r"'x' has dates, such as '1\.2\.2020'"),
        (birds(x=[f"n{n}" for n in range(60)]), {}, "'x' has 60 different texts in 60 rows.*drop="),
        (birds(x=[[1]] * 60), {}, r"'x' has values of type list, such as '\[1\]'"),
        (birds(kind=["a"] * 58 + ["b"] * 2), {}, "lacks class 'b' .rows in all: 2."),
        (birds(kind=[3, 4] * 30), {"classes": "ab"}, r"'kind' must be indices .* 3 to 4"),
        (birds(), {"classes": ["owl", "tit"]}, "'kind' has values that are no classes: emu"),
        (birds(), {"test": birds(x=1)}, "only one of them has 'x'"),
    ],
)
def test_a_frame_that_cannot_be_used_is_refused_in_one_line(
    frame: pd.DataFrame, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as failure:
        read(frame, **options)
    assert "\n" not in str(failure.value)


def test_many_different_texts_look_like_identifiers() -> None:
    texts = [f"n{number % 1_001}" for number in range(3_003)]
    with pytest.raises(UsageError, match="'color' has 1,001 different texts in 3,003 rows"):
        read(birds(3_003, color=texts))


def test_a_test_table_of_its_own_is_the_test_split(tmp_path: Path) -> None:
    later = birds(9, wing=1.5, color="white")
    data = read(birds(), test=later)
    assert data.categories == {"color": ("brown", "gray", "white")}
    assert data.as_frame(data.test.features)["color"].tolist() == ["white"] * 9
    assert len(data.train) + len(data.validation) == 60
    later.to_csv(tmp_path / "test.csv", index=False)
    from_csv, _ = files(tmp_path, birds())
    birds().to_csv(tmp_path / "a.csv", index=False)
    options: Any = {"target": "kind", "missing": "impute"}
    both = TableData.from_csv("birds", tmp_path / "a.csv", tmp_path / "test.csv", **options)
    assert both.sha256 == data.sha256 != from_csv.sha256


GOOD = "wing,color,kind\n" + "1.5,brown,owl\n2.5,gray,tit\n" * 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as CSV in UTF-8: No columns to parse"),
        ("wing,color,kind\n", "Received: 0 rows"),
        ("\x89PNG\0\0", r"cannot be read as CSV in UTF-8: 'utf-8' codec"),
        (GOOD.replace("brown", "brün"), r"cannot be read as CSV in UTF-8: 'utf-8' codec"),
        (GOOD.replace("wing", "color", 1), "each column needs its own name; twice: color"),
        (GOOD.replace("wing", "", 1), "column 1 has no name"),
        (GOOD.replace(",", ";"), "has one column, 'wing;color;kind'; try separator=';'"),
        (GOOD.replace("kind\n", "sort\n", 1), "there is no column 'kind'"),
        (GOOD + "1,gray,tit,9\n", "Expected 3 fields in line 20, saw 4"),
        (GOOD.replace("owl", "owl,1").replace("tit", "tit,1"), "rows have more fields than"),
        (GOOD + "unknown,gray,tit\n", "'wing' mixes numbers and texts: row 19 is 'unknown'"),
        (
            GOOD.replace("color", '"a,b"').replace("brown", '"1,5"').replace("gray", "2"),
            "try decimal",
        ),
        (GOOD + "3.5,gray,\n", r"no 'kind' in 1 of 19 rows \(19\)"),
    ],
)
def test_a_wrong_csv_file_is_refused_in_one_line(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "birds.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UsageError, match=message) as failure:
        TableData.from_csv("birds", path, target="kind")
    assert str(failure.value).startswith(str(path))
    assert "\n" not in str(failure.value)


def test_a_csv_file_may_have_another_separator_and_a_mark_of_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "birds.csv"
    path.write_text("\ufeff" + GOOD.replace(",", ";").replace(".", ","), encoding="utf-8")
    data = TableData.from_csv("birds", path, target="kind", separator=";", decimal=",")
    path.write_text(GOOD)
    assert data.sha256 == TableData.from_csv("birds", path, target="kind").sha256


def test_a_separator_has_one_character(tmp_path: Path) -> None:
    (tmp_path / "birds.csv").write_text(GOOD)
    for separator in (";;", ""):
        with pytest.raises(UsageError, match=f"separator='{separator}': expected one character"):
            TableData.from_csv("birds", tmp_path / "birds.csv", target="kind", separator=separator)


@pytest.mark.parametrize("read", [TableData.from_csv, TableData.from_parquet])
def test_an_absent_file_and_a_folder_are_refused(
    read: Callable[..., TableData], tmp_path: Path
) -> None:
    for name, message in {"absent": "does not exist", "": "is no file"}.items():
        with pytest.raises(UsageError, match=message):
            read("birds", tmp_path / name, target="kind")


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text(GOOD)
    with pytest.raises(UsageError, match=r"a\.parquet cannot be read as Parquet: "):
        TableData.from_parquet("birds", tmp_path / "a.parquet", target="kind")

"""Tables of numbers from delimited text."""

from __future__ import annotations

import csv
import io
import math
import os
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlext.datasets.base import Dataset
from mlext.io import FileFormatError, open_regular

__all__ = ["load_csv"]

_MISSING = {"", "?", "na", "n/a", "nan", "null"}


def load_csv(
    path: str | os.PathLike[str],
    target: int | str | None = -1,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    classes: bool | None = None,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    r"""Load a table of numbers, one column of which is the target.

    Parameters
    ----------
    path : path-like
        Text in UTF-8; fields may be quoted, blank lines are skipped.
    target : int, str or None
        The target's column, by position or by its name in the header; None if there is none.
    header : bool, optional
        Whether the first line holds names; by default it does if one of its features is not
        a number.
    delimiter : str, optional
        One character; by default whichever of ``, ; tab |`` is most frequent in the first line.
    classes : bool, optional
        True turns every distinct target into a class, False demands numbers. By default a
        target of numbers is kept (int64 if all are whole, else `dtype`) and any other is made
        classes.
    dtype : dtype-like
        Of the features.

    Returns
    -------
    Dataset
        data (N, C); target (N,), or (0,) without a target; target_names in the order of the
        codes: numbers by value, other labels alphabetically.

    Raises
    ------
    FileFormatError
        A ValueError that names line and column: a missing or non-numeric value, a line with
        too many or too few fields, an unknown column, no rows.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("size,kind\n1.5,cat\n2.5,dog\n")
    ...     data = load_csv(folder + "/a.csv", target="kind")
    >>> data.data.tolist(), data.target.tolist(), data.target_names
    ([[1.5], [2.5]], [0, 1], ('cat', 'dog'))
    """
    if delimiter is not None and len(delimiter) != 1:
        raise ValueError(f"load_csv: argument 'delimiter': expected one character: {delimiter!r}")
    records = _records(path, delimiter)
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"load_csv: argument 'dtype': expected a floating type, got {dtype!r}")
    line, first = next(records, (0, []))
    if not first:
        raise FileFormatError(path, "the file has no rows")
    if header is None:
        header = _looks_like_header(first, target)
    names = [field.strip() for field in first] if header else []
    layout = _Layout(path, len(first), _column(target, names, len(first), path), names)
    rows = _Rows(layout)
    if not header:
        rows.add(line, first)
    for line, fields in records:
        rows.add(line, fields)
    return rows.finish(classes, np.dtype(dtype))


def _records(path: str | os.PathLike[str], delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and fields of each record that is not blank."""
    with open_regular(path) as raw, io.BufferedReader(raw) as buffered:
        text = io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="")
        try:
            if delimiter is None:
                delimiter = _guess_delimiter(text)
            reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
            line = 1
            for fields in reader:
                if fields and (len(fields) > 1 or fields[0].strip()):
                    yield line, fields
                line = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise FileFormatError(path, f"not UTF-8 text: {error.reason}") from None
        except csv.Error as error:
            raise FileFormatError(path, f"line {line}: {error}") from None


def _guess_delimiter(text: io.TextIOWrapper) -> str:
    """Count candidates outside quotes in the first line that is not blank."""
    first = ""
    while not first.strip():
        first = text.readline()
        if not first:
            break
    text.seek(0)
    unquoted = "".join(first.split('"')[::2])
    return max(",;\t|", key=unquoted.count)


def _looks_like_header(fields: list[str], target: int | str | None) -> bool:
    """Names where numbers belong; the target may be text in any line, so it does not count."""
    if isinstance(target, str):
        return True
    skip = None if target is None or len(fields) == 1 else target % len(fields)
    features = (field for i, field in enumerate(fields) if i != skip)
    return any(_number(field) is None and not _is_missing(field) for field in features)


def _column(target: int | str | None, names: list[str], count: int, path: str | os.PathLike[str]) -> int | None:
    """Position of the target's column."""
    if target is None:
        return None
    if isinstance(target, str):
        if names.count(target) != 1:
            raise FileFormatError(
                path,
                f"target {target!r}: expected one column of that name, found "
                f"{names.count(target)}; columns are {', '.join(names) or 'not named'}",
            )
        return names.index(target)
    if not -count <= target < count:
        raise FileFormatError(path, f"target {target}: the table has {count} columns")
    return target % count


def _number(field: str) -> float | None:
    """Return the number a field holds, or None; infinities and NaN count as none."""
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_missing(field: str) -> bool:
    return field.strip().lower() in _MISSING


class _Layout(NamedTuple):
    """What every line of a table must look like."""

    path: str | os.PathLike[str]
    columns: int
    target: int | None
    names: list[str]

    def label(self, column: int) -> str:
        """Name a column in a message."""
        name = f" ({self.names[column]!r})" if self.names else ""
        return f"column {column + 1}{name}"

    def fail(self, line: int, column: int, field: str) -> NoReturn:
        """Raise for a field that is no number."""
        problem = "value is missing" if _is_missing(field) else f"{field!r} is not a finite number"
        raise FileFormatError(self.path, f"line {line}, {self.label(column)}: {problem}")


class _Rows:
    """Collects the rows of a table."""

    def __init__(self, layout: _Layout) -> None:
        self.layout = layout
        self.values = array("d")
        self.targets: list[str] = []
        self.lines: list[int] = []

    def add(self, line: int, fields: list[str]) -> None:
        """Check and keep one record."""
        layout = self.layout
        if len(fields) != layout.columns:
            raise FileFormatError(layout.path, f"line {line}: expected {layout.columns} fields, got {len(fields)}")
        target = layout.target
        features = fields
        if target is not None:
            if _is_missing(fields[target]):
                layout.fail(line, target, fields[target])
            self.targets.append(fields[target].strip())
            features = fields[:target] + fields[target + 1 :]
        try:
            row = array("d", map(float, features))
        except ValueError:
            row = array("d", [math.nan])
        if not math.isfinite(sum(row)):  # cheap; the exact check names the field
            self._check_fields(line, fields)
        self.values.extend(row)
        self.lines.append(line)

    def _check_fields(self, line: int, fields: list[str]) -> None:
        for column, field in enumerate(fields):
            if column != self.layout.target and _number(field) is None:
                self.layout.fail(line, column, field)

    def finish(self, classes: bool | None, dtype: np.dtype[Any]) -> Dataset:
        """Build the data set."""
        layout, count = self.layout, len(self.lines)
        features = layout.columns - (layout.target is not None)
        if count == 0 or features == 0:
            what = "rows of data" if count == 0 else "features besides the target"
            raise FileFormatError(layout.path, f"the table has no {what}")
        data = np.frombuffer(self.values, np.float64).reshape(count, features)
        data = self._cast(data, dtype)
        names = layout.names or [f"column_{i + 1}" for i in range(layout.columns)]
        kept = tuple(name for i, name in enumerate(names) if i != layout.target)
        target, target_names = self._target(classes, dtype)
        return Dataset(data, target, kept, target_names, os.fspath(layout.path))

    def _cast(self, data: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Convert features to ``dtype``; a value it cannot hold must not become infinite."""
        largest = np.finfo(dtype).max
        bad = np.argwhere(np.abs(data) > largest)
        if len(bad):
            row, column = (int(i) for i in bad[0])
            raise FileFormatError(
                self.layout.path,
                f"line {self.lines[row]}: {data[row, column]} is too large for {dtype}",
            )
        return data.astype(dtype)

    def _target(self, classes: bool | None, dtype: np.dtype[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Turn the target's texts into numbers or class codes with names."""
        if self.layout.target is None:
            return np.empty(0, dtype), ()
        numbers = [_number(text) for text in self.targets]
        bad = next((i for i, number in enumerate(numbers) if number is None), None)
        if bad is not None and classes is False:
            self.layout.fail(self.lines[bad], self.layout.target, self.targets[bad])
        if classes or bad is not None:
            return _encode(self.targets, numeric=bad is None)
        values = np.array(numbers, np.float64)
        # Beyond 2**53 a float no longer holds every integer.
        whole = all(text.lstrip("+-").isdecimal() for text in self.targets)
        whole = whole and bool((np.abs(values) <= 2**53).all())
        return values.astype(np.int64 if whole else dtype), ()


def _encode(labels: list[str], *, numeric: bool) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Give distinct labels codes: by value if all are numbers, else alphabetically."""
    if numeric:
        values = [float(label) for label in labels]
        first = dict(zip(reversed(values), reversed(labels), strict=True))  # 1 and 1.0 are one
        codes = {value: code for code, value in enumerate(sorted(first))}
        names = tuple(first[value] for value in codes)
        return np.array([codes[value] for value in values], np.int64), names
    names = tuple(sorted(set(labels)))
    positions = {name: code for code, name in enumerate(names)}
    return np.array([positions[label] for label in labels], np.int64), names

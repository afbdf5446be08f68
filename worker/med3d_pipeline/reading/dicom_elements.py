"""Reading single DICOM elements without trusting them: a malformed value counts as absent."""

import math
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

MALFORMED = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on bytes that only look like DICOM."""


def value(datasets: Sequence[Dataset], *keywords: str) -> Any:
    """Look up the first non-empty value of any of ``keywords``, in one data set after the other."""
    for keyword in keywords:
        tag = _tag_of(keyword)
        for dataset in datasets:
            if tag not in dataset.keys():  # noqa: SIM118 - a data set's own ``in`` is ten times slower
                continue
            try:
                found = dataset[tag].value  # by keyword pydicom looks the same tag up again and again
            except MALFORMED:
                continue
            if found is not None and found not in ("", b"") and not (isinstance(found, MultiValue) and not found):
                return found
    return None


@cache
def _tag_of(keyword: str) -> BaseTag:
    return Tag(keyword)


def text(datasets: Sequence[Dataset], *keywords: str) -> str:
    """Return the value as text without blanks around it; "" where absent, several values joined by a backslash."""
    return "\\".join(_texts(value(datasets, *keywords)))


def codes(datasets: Sequence[Dataset], *keywords: str) -> tuple[str, ...]:
    """Return the values as upper-case codes."""
    return tuple(code.upper() for code in _texts(value(datasets, *keywords)))


def numbers(datasets: Sequence[Dataset], *keywords: str, count: int | None = None) -> tuple[float, ...] | None:
    """Return the values as finite floats, or None where absent, malformed, not finite or not ``count`` of them."""
    found = value(datasets, *keywords)
    if found is None:
        return None
    try:
        values = tuple(float(item) for item in _items(found))
    except (ValueError, TypeError):
        return None
    if not values or not all(math.isfinite(item) for item in values) or (count is not None and len(values) != count):
        return None
    return values


def number(datasets: Sequence[Dataset], *keywords: str) -> float | None:
    """Return the first value as a finite float, or None."""
    found = numbers(datasets, *keywords)
    return found[0] if found else None


def whole(datasets: Sequence[Dataset], *keywords: str) -> int | None:
    """Return the first value as an integer, or None."""
    found = number(datasets, *keywords)
    return int(found) if found is not None else None


def flag(datasets: Sequence[Dataset], *keywords: str) -> bool | None:
    """Read YES/Y and NO/N as truth values, else None."""
    return {"Y": True, "N": False}.get(text(datasets, *keywords).upper()[:1])


def items(datasets: Sequence[Dataset], keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence, or none."""
    found = value(datasets, keyword)
    return tuple(item for item in _items(found) if isinstance(item, Dataset)) if found is not None else ()


def _items(found: Any) -> list[Any]:
    if isinstance(found, str | bytes):
        return [found]
    try:
        return list(found)
    except TypeError:
        return [found]


def _texts(found: Any) -> list[str]:
    if found is None:
        return []
    return [str(item).strip() for item in _items(found)]

"""JSON as Orthanc reads it, with comments, commas after last items and a byte order mark, and where a value stands."""

import json
import re
from typing import Any

_COMMA_TOO_MANY = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
_BYTE_ORDER_MARK = "\ufeff"
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|[{}\[\]]', re.DOTALL)


class NotJsonError(ValueError):
    """The text is no JSON object, comments or not."""


def bare_json(text: str) -> str:
    """Return the same text with blanks for what only Orthanc's parser takes: every other character keeps its place."""

    def blanked(found: re.Match[str]) -> str:
        token = found[0]
        return re.sub(r"[^\n]", " ", token) if token.startswith("/") else token

    without_comments = _TOKEN.sub(blanked, _without_mark(text))
    return _COMMA_TOO_MANY.sub(lambda found: " " if found[0] == "," else found[0], without_comments)


def _without_mark(text: str) -> str:
    return " " + text[1:] if text.startswith(_BYTE_ORDER_MARK) else text


def read_object(text: str) -> dict[str, Any]:
    """Read the one object of the text. Raises NotJsonError."""
    try:
        found = json.loads(bare_json(text))
    except ValueError as error:
        raise NotJsonError(str(error)) from error
    if not isinstance(found, dict):
        raise NotJsonError("no object")
    return found


def put_into_list(text: str, key: str, value: str) -> str:
    """Put ``value`` at the head of the list under ``key`` of the outermost object; nothing else of the text changes.

    Raises NotJsonError, also where the key stands there twice and another list is the one that counts.
    """
    bare = bare_json(text)
    start = _list_under(bare, key)
    items, _ = json.JSONDecoder().raw_decode(bare, start)
    longer = f"{text[: start + 1]} {json.dumps(value)}{',' if items else ''}{text[start + 1 :]}"
    if read_object(longer)[key] != [value, *items]:
        raise NotJsonError(f"{key} stands there twice")
    return longer


def _list_under(bare: str, key: str) -> int:
    """Tell where the list under ``key`` of the outermost object opens. Raises NotJsonError."""
    depth = 0
    for found in _TOKEN.finditer(bare):
        if found[0] in "{[":
            depth += 1
        elif found[0] in "}]":
            depth -= 1
        elif depth == 1 and json.loads(found[0]) == key:
            opening = re.compile(r"\s*:\s*\[").match(bare, found.end())
            if opening is not None:
                return opening.end() - 1
    raise NotJsonError(f"no list under {key}")

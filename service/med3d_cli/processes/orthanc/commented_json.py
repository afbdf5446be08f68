"""JSON as Orthanc reads it, with // and /* */ comments, and where in a file a value stands."""

import json
import re
from typing import Any

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|[{}\[\]]', re.DOTALL)


class NotJsonError(ValueError):
    """The text is no JSON object, comments or not."""


def without_comments(text: str) -> str:
    """The same text with blanks for comments: every other character keeps its place."""

    def blanked(found: re.Match[str]) -> str:
        token = found[0]
        return re.sub(r"[^\n]", " ", token) if token.startswith("/") else token

    return _TOKEN.sub(blanked, text)


def read_object(text: str) -> dict[str, Any]:
    """Read the one object of the text. Raises NotJsonError."""
    try:
        found = json.loads(without_comments(text))
    except ValueError as error:
        raise NotJsonError(str(error)) from error
    if not isinstance(found, dict):
        raise NotJsonError("no object")
    return found


def put_into_list(text: str, key: str, value: str) -> str:
    """Put ``value`` at the head of the list under ``key`` of the outermost object; nothing else of the text changes."""
    bare = without_comments(text)
    start = _list_under(bare, key)
    items, _ = json.JSONDecoder().raw_decode(bare, start)
    return f"{text[: start + 1]} {json.dumps(value)}{',' if items else ''}{text[start + 1 :]}"


def _list_under(bare: str, key: str) -> int:
    """Where the list under ``key`` of the outermost object opens. Raises NotJsonError."""
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

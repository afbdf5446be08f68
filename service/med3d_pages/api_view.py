"""The API's description as its page arranges it: routes by group, with what each takes and answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Parameter:
    """Something that a route takes beside its body. ``place``: path, query or header."""

    name: str
    place: str
    needed: bool
    meaning: str


@dataclass(frozen=True)
class Operation:
    """A method of an address. ``takes``: role and grant; empty where it takes anybody."""

    method: str
    path: str
    summary: str
    description: str
    takes: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    bodies: tuple[str, ...]
    answers: tuple[tuple[str, str], ...]


def operations(document: Mapping[str, Any]) -> Mapping[str, Sequence[Operation]]:
    """Gather the routes by group, in the order of the document."""
    found: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                group = (methods[method].get("tags") or ["other"])[0]
                found.setdefault(group, []).append(_operation(method, path, methods[method]))
    return found


def _operation(method: str, path: str, said: Mapping[str, Any]) -> Operation:
    takes = [need for one in said.get("security", ()) for need in one.get("HTTPBearer", ())]
    return Operation(
        method=method.upper(),
        path=path,
        summary=said.get("summary", ""),
        description=said.get("description", ""),
        takes=tuple(takes),
        parameters=tuple(_parameter(one) for one in said.get("parameters", ())),
        bodies=tuple(_body(kind, one) for kind, one in said.get("requestBody", {}).get("content", {}).items()),
        answers=tuple((status, _first_line(one.get("description", ""))) for status, one in said["responses"].items()),
    )


def _parameter(said: Mapping[str, Any]) -> Parameter:
    return Parameter(said["name"], said["in"], bool(said.get("required")), said.get("description", ""))


def _body(kind: str, said: Mapping[str, Any]) -> str:
    name = said.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f"{kind} ({name})" if name else kind


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]

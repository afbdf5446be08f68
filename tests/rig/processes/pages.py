"""What the pages of docs/ tell people to type: commands in ``sh`` blocks, commands and settings in the text."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from med3d_cli.main import make_app

ROOT = Path(__file__).parents[3]
OPERATORS = ("docs/operations.md", "docs/access.md", "docs/audit.md", "docs/privacy.md", "SECURITY.md")
ALL = tuple(sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]))


@dataclass(frozen=True)
class Command:
    """A line of a ``sh`` block, without the remark behind it, below its page's heading."""

    page: str
    heading: str
    text: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def commands(page: str) -> list[Command]:
    """The lines of the page's ``sh`` blocks, in their order."""
    found, heading, language = [], "", None
    for line in text_of(page).splitlines():
        if line.startswith("```"):
            language = (line[3:] or "text") if language is None else None
        elif language is None and line.startswith("#"):
            heading = line.lstrip("# ")
        elif language == "sh" and (text := re.sub(r"(^|\s)# .*", "", line).strip()):
            found.append(Command(page, heading, text))
    return found


def mentioned_commands(page: str) -> list[str]:
    """`med3d ...` anywhere in the page, within its sentences and as lines of its own."""
    inline = re.findall(r"`(?:\w+=\S+ )*(med3d [a-z][^`\n]*)`", text_of(page))
    lines = re.findall(r"^(?:\w+=\S+ )*(med3d [a-z].*?)(?:\s+# .*)?$", text_of(page), re.MULTILINE)
    return sorted({*inline, *lines})


def mentioned_metrics(page: str) -> list[str]:
    """Names of Prometheus metrics in the page."""
    packages = {path.name for path in ROOT.glob("*/med3d_*")}
    return sorted(set(re.findall(r"(?<![\w-])med3d_[a-z_]+[a-z]", text_of(page))) - packages)


def mentioned_settings(page: str) -> list[str]:
    """MED3D_... anywhere in the page, but for those that end in a wildcard."""
    return sorted(set(re.findall(r"MED3D_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_*{])", text_of(page))))


def unknown_words(command: str) -> list[str]:
    """The words of a `med3d` command (`a|b` is either) that the program does not know: sub-commands and options."""
    if (either := re.search(r"[\w|]+\|[\w|]+", command)) is not None:
        one_each = (command.replace(either[0], word) for word in either[0].split("|"))
        return [word for command in one_each for word in unknown_words(command)]
    group, words = _program(), command.split()[1:]
    while hasattr(group, "commands") and words:
        name = words.pop(0)
        if name.startswith("-") or name not in group.commands:
            return [name]
        group = group.commands[name]
    known = {option for one in group.params for option in (*one.opts, *one.secondary_opts)}
    return [word for word in words if word.startswith("--") and word.split("=")[0] not in known | {"--help"}]


@functools.cache
def _program() -> Any:
    return typer.main.get_command(make_app())


def blocks(page: str, language: str) -> list[Command]:
    """The page's fenced blocks of one language, each with the heading above it."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)
    return [Command(page, _heading_of(page, block), block) for block in found]


def _heading_of(page: str, block: str) -> str:
    above = text_of(page).split(block)[0]
    return str(re.findall(r"^#+ (.*)$", above, re.MULTILINE)[-1])

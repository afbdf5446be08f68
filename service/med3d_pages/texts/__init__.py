"""What pages say: one catalogue for each language, a TOML file of texts by key.

English is complete by definition; another language holds the same keys, which a test sees to. What would help
against a refusal (``remedy.CODE``) stands in docs/refusals.md and nowhere else; the wheel carries that page. Another
language has a page of its own with the same tables, which say what each code means, too: the service's own
sentences, with what was measured, are English.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from med3d_pages.numbers import Numbers

HERE = Path(__file__).parent
DEFAULT = "en"
REFUSALS = "refusals.md"
_ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
_MEANING = re.compile(r"^\| `(\w+)` \| ([^|]+) \|(?: [^|]+ \|){1,2}$", re.MULTILINE)


@dataclass(frozen=True)
class Catalogue:
    """The texts of one language by key, such as ``worklist.title``."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with its values filled in. Raises KeyError for a key that there is not."""
        return self.texts[key].format(**values) if values else self.texts[key]

    def counted(self, key: str, count: int) -> str:
        """Return the text for one, or for another number of things."""
        return self(f"{key}.{'one' if count == 1 else 'other'}", count=count)

    def named(self, kind: str, name: str) -> str:
        """Return what a thing of a kind is called; its own name where the catalogue does not know it."""
        return self.texts.get(f"{kind}.{name}", name)

    @property
    def numbers(self) -> Numbers:
        """How the language writes numbers."""
        return Numbers(self("number.mark"), self("number.to"), self("number.days"))

    def meaning(self, code: str) -> str | None:
        """Say what the code of a reason means; None in the service's own language, whose sentence says more."""
        return None if self.language == DEFAULT else self.in_words(code)

    def in_words(self, code: str) -> str | None:
        """Say what the code of a reason means, where no sentence of the service stands beside it."""
        found = self.texts.get(f"meaning.{code}")
        return None if found is None else f"{found[0].upper()}{found[1:]}."

    def spoken_by_scripts(self) -> tuple[tuple[str, str], ...]:
        """Return what a script says of a study that it follows: steps, meanings, and what helps, by key."""
        kinds = ("step.", "problem.help.", *(() if self.language == DEFAULT else ("meaning.", "problem.said.")))
        return tuple(
            (key.removeprefix("problem."), self.in_words(key.removeprefix("meaning.")) or text)
            for key, text in self.texts.items()
            if key.startswith(kinds)
        )

    def maybe(self, key: str) -> str | None:
        """Return a text that need not be there."""
        return self.texts.get(key)


@lru_cache
def catalogue(language: str) -> Catalogue:
    """Read the catalogue of a language: all of its files together."""
    texts: dict[str, str] = {}
    for path in sorted((HERE / language).glob("*.toml")):
        texts |= _flat(tomllib.loads(path.read_text(encoding="utf-8")))
    texts |= {f"remedy.{code}": text for code, text in (remedies(language) or remedies(DEFAULT)).items()}
    texts |= {f"meaning.{code}": text for code, text in (meanings(language) or meanings(DEFAULT)).items()}
    return Catalogue(language, texts)


@lru_cache
def languages() -> tuple[str, ...]:
    """Return the languages that there are, the default one first."""
    found = sorted(path.name for path in HERE.iterdir() if path.is_dir() and any(path.glob("*.toml")))
    return (DEFAULT, *(one for one in found if one != DEFAULT))


def preferred(accept_language: str, chosen: str | None = None) -> Catalogue:
    """Choose the catalogue that a browser's Accept-Language (RFC 9110 12.5.4) likes best among those there are.

    ``chosen``: by the person, which goes before.
    """
    if chosen in languages():
        return catalogue(chosen)
    wanted: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            wanted.append((-float(weight or 1), tag.split("-")[0].lower()))
        except ValueError:
            continue
    for _, language in sorted(wanted):
        if language in languages():
            return catalogue(language)
    return catalogue(DEFAULT)


def remedies(language: str) -> Mapping[str, str]:
    """Read what to send instead, by the code of a refusal, out of the page that documents them; none without a page."""
    return _column(language, _ROW)


def meanings(language: str) -> Mapping[str, str]:
    """Read what each code of a refusal and of a reason to look means, out of the same page."""
    return _column(language, _MEANING)


def _column(language: str, row: re.Pattern[str]) -> dict[str, str]:
    packaged, beside = HERE / language / REFUSALS, HERE.parents[2] / "docs" / REFUSALS
    page = packaged if packaged.exists() or language != DEFAULT else beside
    if not page.exists():
        return {}
    return {code: _unmarked(text) for code, text in row.findall(page.read_text(encoding="utf-8"))}


def _unmarked(text: str) -> str:
    """Return ``text`` without the marks of its page.

    What its links in brackets lead to is for who reads the documents.
    """
    return re.sub("[`*]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r" *\(\[[^]]*\]\([^)]*\)\)", "", text)))


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": str(value)}
    return found

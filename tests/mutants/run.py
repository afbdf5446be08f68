"""Change the modules that decide, one expression at a time, and see whether their tests notice (make mutants).

Cosmic Ray says what can be changed in a module and changes it. Each mutant is tried in a copy of the tree, by a fork of
this process, which has imported what the tests import but our own packages, and compiled those: an interpreter started for
each would do so again.
"""

import argparse
import contextlib
import importlib
import json
import os
import py_compile
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("modules.toml")
COPIED = ("service", "worker", "tests", "docs", "pyproject.toml", "Makefile")
OPTIONS = ("-x", "-q", "--hypothesis-seed=0", "-p", "no:cacheprovider", "-p", "no:schemathesis",
           "-W", "ignore::pytest.PytestAssertRewriteWarning")  # fmt: skip
OURS = frozenset({"conftest", "rig", "tests", "unit", "__main__", "__mp_main__"})
TIMED_OUT = -1


@dataclass(frozen=True)
class Area:
    """Modules that decide one thing, the tests that belong to them, and the definitions that decide, where not all do.

    keywords: pytest's -k, which leaves out what takes too long to be asked about each mutant.
    """

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    definitions: frozenset[str]
    keywords: str

    @property
    def options(self) -> tuple[str, ...]:
        """What pytest is called with."""
        return (*OPTIONS, *(("-k", self.keywords) if self.keywords else ()), *self.tests)


@dataclass(frozen=True)
class Mutant:
    """The ``occurrence``-th place in a module where an operator of Cosmic Ray can change something."""

    module: str
    operator: str
    occurrence: int
    line: int


def areas() -> list[Area]:
    """Read the table of areas."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return [
        Area(
            name,
            tuple(row["modules"]),
            tuple(row["tests"]),
            frozenset(row.get("definitions", ())),
            row.get("keywords", ""),
        )
        for name, row in table.items()
    ]


def mutants_of(module: str, root: Path, definitions: frozenset[str] = frozenset()) -> list[Mutant]:
    """All mutants of a module, but those of annotations: ``X | None`` is no arithmetic."""
    source = (root / module).read_text(encoding="utf-8")
    tree = get_ast(source)
    lines = source.splitlines()
    found = []
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments():
            continue
        places = ((node, start) for node in ast_nodes(tree) for start, _ in operator().mutation_positions(node))
        for occurrence, (node, (line, column)) in enumerate(places):
            if definitions and ASTQuery(node).get_definition_name() not in definitions:
                continue
            if "BitOr" in name and lines[line - 1][column:].lstrip("| ").startswith("None"):
                continue
            found.append(Mutant(module, name, occurrence, line))
    return found


def exit_status(area: Area, limit_s: float, *, imported: Path | None = None) -> int:
    """Run an area's tests in a fork; TIMED_OUT where they take longer than ``limit_s``.

    imported: a file for what they import, by name, and of our own the files; without it they run in silence.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            status = _run_here(area, imported)
        finally:
            os._exit(status)  # whatever was raised: the tree is the parent's to remove
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMED_OUT


def _run_here(area: Area, imported: Path | None) -> int:
    os.setsid()
    if imported is None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    status = int(pytest.main([*area.options]))
    if imported is not None:
        ours = {name for name in sys.modules if name.split(".")[0] in OURS or name.startswith("med3d_")}
        files = {getattr(sys.modules[name], "__file__", None) or "" for name in ours}
        here = sorted(file for file in files if file.startswith(str(Path.cwd())))
        told = {"others": sorted(sys.modules.keys() - ours), "ours": here}
        imported.write_text(json.dumps(told), encoding="utf-8")
    return status


def try_area(area: Area, tree: Path, most: int, seed: int, until: float) -> str:
    """Try mutants of an area, at most ``most``, drawn by ``seed``; a line of the table."""
    imported = tree / "imported"
    if exit_status(area, 600, imported=imported):
        raise SystemExit(f"{area.name}: its tests fail without any change")
    told = json.loads(imported.read_text(encoding="utf-8"))
    for name in told["others"]:
        with contextlib.suppress(Exception):  # what tests or libraries made up
            importlib.import_module(name)
    for name in told["ours"]:  # by their content: a mutant of the same length in the same second is seen
        py_compile.compile(name, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    began = time.monotonic()
    if exit_status(area, 600):
        raise SystemExit(f"{area.name}: its tests fail a second time without any change")
    limit_s = 10 + 10 * (time.monotonic() - began)
    mutants = [mutant for module in area.modules for mutant in mutants_of(module, tree, area.definitions)]
    drawn = random.Random(seed).sample(mutants, min(most, len(mutants)))
    tried, survivors = 0, []
    for mutant in drawn:
        if time.monotonic() > until:
            break
        path = tree / mutant.module
        source = path.read_text(encoding="utf-8")
        changed = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
        if changed is None:
            continue
        path.write_text(changed, encoding="utf-8")
        tried += 1
        try:
            survived = exit_status(area, limit_s) == 0
        finally:
            path.write_text(source, encoding="utf-8")
        if survived:
            survivors.append(mutant)
            before, after = (text.splitlines()[mutant.line - 1].strip() for text in (source, changed))
            print(f"survived {mutant.module}:{mutant.line} {mutant.operator}\n  - {before}\n  + {after}", flush=True)
    killed = tried - len(survivors)
    return f"| {area.name} | {len(mutants)} | {tried} | {killed} | {100 * killed / max(tried, 1):.0f} % |"


def main() -> None:
    """Try the areas that are asked for and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="Name of one area; all where empty")
    parser.add_argument("--most", type=int, default=60, help="Mutants of an area, drawn by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=3600, help="Time for each area; what was drawn last is left out"
    )
    asked = parser.parse_args()
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="med3d-mutants-") as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / name)
        os.chdir(tree)
        ours = {str(ROOT / name) for name in ("service", "worker", "model_export", "tests")}
        sys.path[:] = [str(tree / "service"), str(tree / "worker"), *(one for one in sys.path if one not in ours)]
        rows = []
        for area in areas():
            if asked.only in {"", area.name}:
                rows.append(try_area(area, tree, asked.most, asked.seed, time.monotonic() + asked.seconds))
                print(rows[-1], flush=True)
    print("\n| decides | mutants | tried | killed | share |\n|---|---:|---:|---:|---:|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

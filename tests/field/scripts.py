"""The scripts of a folder that write what users reported elsewhere: each of their cases, with its right answer."""

import importlib.util
import sys
from functools import cache, partial
from pathlib import Path
from types import ModuleType

from field.case import Case, Right, Room


@cache
def script(path: Path) -> ModuleType:
    """The script as a module; what is beside it can be imported by it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def write_scripted(file: str, name: str, room: Room, folder: Path) -> Path:
    """Have a script's function of that name write its case."""
    assert room.scripts is not None
    module = script(room.scripts / file)
    if room.head is not None:
        module.HEAD = room.head
    module.CASES[name](folder / name)
    return folder / name


def scripted(file: str, name: str, right: tuple[Right, ...], why: str, files: tuple[str, ...] = ()) -> Case:
    """A case that a script writes."""
    kind = file.removeprefix("make_").removesuffix("_cases.py")
    return Case(f"{kind}:{name}", partial(write_scripted, file, name), right, why, files)


def without_answer(room: Room, cases: list[Case], *files: str) -> list[str]:
    """Cases that the scripts write and nobody has stated the right answer of."""
    assert room.scripts is not None
    known = {case.name for case in cases}
    found = []
    for file in files:
        kind = file.removeprefix("make_").removesuffix("_cases.py")
        found += [f"{kind}:{name}" for name in script(room.scripts / file).CASES]
    return [name for name in found if name not in known]

"""A disk that keeps, over a loss of power, what was fsynced; of all else it keeps what it likes."""

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Tree: TypeAlias = dict[str, "bytes | Tree"]


class PowerLostError(BaseException):
    """Nothing that runs goes on."""


@dataclass(frozen=True)
class _Now:
    """What the folder ``top`` looks like to those who run: by inode, for names come and go."""

    entries: dict[int, dict[str, int]]
    contents: dict[int, bytes]

    @classmethod
    def of(cls, top: Path) -> "_Now":
        entries: dict[int, dict[str, int]] = {}
        contents: dict[int, bytes] = {}
        for folder, folders, files in os.walk(top):
            here = Path(folder)
            entries[here.stat().st_ino] = {name: (here / name).stat().st_ino for name in folders + files}
            contents |= {(here / name).stat().st_ino: (here / name).read_bytes() for name in files}
        return cls(entries, contents)


class ForgetfulDisk:
    """Everything below ``top``. Give ``sync`` to what is to write there; ``lose_power`` when it is to end.

    POSIX promises no more: the bytes of a file are safe once it was fsynced, its name once the folder was.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.syncs_left: int | None = None  # after so many more the power is lost
        self._pinned: list[int] = []  # open, so that no inode number is given out twice
        top.mkdir(exist_ok=True)
        self._safe = _Now.of(top)
        self._last: _Now | None = None

    def sync(self, path: str | Path) -> None:
        """Stands in for fsync."""
        if self.syncs_left == 0:
            self._last = _Now.of(self.top)
            raise PowerLostError
        if self.syncs_left is not None:
            self.syncs_left -= 1
        path = Path(path)
        number = self._pin(path)
        if path.is_dir():
            self._safe.entries[number] = {one.name: self._pin(one) for one in path.iterdir()}
        else:
            self._safe.contents[number] = path.read_bytes()

    def lose_power(self, dice: random.Random) -> None:
        """Leave below ``top`` what a disk may have kept; ``dice`` decides where it is free to."""
        now, self._last, self.syncs_left = self._last or _Now.of(self.top), None, None
        number = self.top.stat().st_ino
        folders = now.entries.keys() | self._safe.entries.keys()
        kept = {one: dice.choice((self._safe, now)).entries.get(one, {}) for one in sorted(folders)}
        tree = self._tree(number, kept, now, dice)
        for pinned in self._pinned:
            os.close(pinned)
        self._pinned.clear()
        shutil.rmtree(self.top)
        self._write(self.top, tree)
        self._safe = _Now.of(self.top)

    def _tree(self, number: int, kept: dict[int, dict[str, int]], now: _Now, dice: random.Random) -> Tree:
        tree: Tree = {}
        for name, child in kept.get(number, {}).items():
            if child in kept:
                tree[name] = self._tree(child, kept, now, dice)
            elif child in self._safe.contents:
                tree[name] = self._safe.contents[child]
            else:
                written = now.contents.get(child, b"")
                tree[name] = written[: dice.choice((0, len(written) // 2, len(written)))]
        return tree

    def _write(self, folder: Path, tree: Tree) -> None:
        folder.mkdir(mode=0o700)
        for name, child in tree.items():
            if isinstance(child, dict):
                self._write(folder / name, child)
            else:
                (folder / name).write_bytes(child)

    def _pin(self, path: Path) -> int:
        opened = os.open(path, os.O_RDONLY)
        self._pinned.append(opened)
        return os.fstat(opened).st_ino

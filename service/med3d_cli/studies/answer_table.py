"""A table of answers as `med3d bids` or `analyse --csv` wrote it, read again: what was edited or cut is refused."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from med3d_cli.errors import CommandError

EXIT_USAGE = 2
UNKNOWN = frozenset({"", "n/a", "na", "nan"})
"""What says that there is no number, in lower case: ours, and what other programs make of it when they save."""
AS_WRITTEN = "take the table as it was written, or mend it there"


@dataclass(frozen=True)
class AnswerRow:
    """A row by the names of its columns. where: the table and the line, for messages."""

    where: str
    cells: Mapping[str, str]

    def number(self, name: str) -> float | None:
        """Return the number in a column; None where it says that there is none. Raises CommandError."""
        text = self.cells.get(name, "").strip()
        if text.lower() in UNKNOWN:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise CommandError(f"{self.where}: {name} is {text!r}, which is no number; {AS_WRITTEN}", EXIT_USAGE)
        return number


@dataclass(frozen=True)
class AnswerTable:
    """Its columns and rows, in their order."""

    columns: Sequence[str]
    rows: Sequence[AnswerRow]


def read_answer_table(path: Path) -> AnswerTable:
    """Read a table. Raises CommandError where it is none of answers, or a row has not a cell for each column."""
    try:
        lines = list(_lines(path.read_bytes().decode("utf-8-sig")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{path} cannot be read as a table in UTF-8", EXIT_USAGE) from error
    columns = lines[0][1] if lines else []
    if "brain_age_years" not in columns:
        said = "it is no table of answers, or was saved with other separators than commas or tabs"
        raise CommandError(f"{path} has no column brain_age_years: {said}", EXIT_USAGE)
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise CommandError(f"{path} has several columns {', '.join(twice)}; {AS_WRITTEN}", EXIT_USAGE)
    return AnswerTable(columns, [_row(f"{path}, line {number}", columns, cells) for number, cells in lines[1:]])


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that has any, with its line. In tables of tabs a quotation mark is one."""
    is_tabbed = "\t" in text.partition("\n")[0]
    kind = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if is_tabbed else {"delimiter": ",", "strict": True}
    reader = csv.reader(io.StringIO(text, newline=""), **kind)  # type: ignore[arg-type]
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _row(where: str, columns: Sequence[str], cells: Sequence[str]) -> AnswerRow:
    if len(cells) != len(columns):
        raise CommandError(
            f"{where}: {len(cells)} cells for {len(columns)} columns: it was cut off or edited; {AS_WRITTEN}",
            EXIT_USAGE,
        )
    cells_by_name = dict(zip(columns, cells, strict=True))
    if any("\n" in cell or "\r" in cell for name, cell in cells_by_name.items() if name != "input"):  # a path may
        raise CommandError(f"{where}: a cell goes on over the end of a line; {AS_WRITTEN}", EXIT_USAGE)
    return AnswerRow(where, cells_by_name)

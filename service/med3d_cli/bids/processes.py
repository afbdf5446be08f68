"""The scans of a dataset worked through, by this process or by several."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from med3d_cli.bids.dataset import Scan
from med3d_cli.studies.opened_model import Model
from med3d_cli.studies.process_pool import in_processes
from med3d_contract.results import RunStatus

if TYPE_CHECKING:
    from med3d_cli.bids.scans import Order, Outcome
    from med3d_worker.analysis import Analyser

PROCESS_DIED = "process_died"
_opened: list["Analyser"] = []  # in a child process: the model, which is opened once


def answer_all(model: Model, scans: Sequence[Scan], order: "Order", processes: int) -> Iterator["Outcome"]:
    """Answer every scan, as each comes to its end. Raises CommandError where the model cannot be opened."""
    from med3d_cli.bids.scans import answer_scan

    analyser = model.open(processes)
    if processes == 1:
        for scan in scans:
            yield answer_scan(analyser, scan, order)
        return
    del analyser  # it was opened to say what is wrong with the model, once and in this process
    begin = (_open_in_child, (model, processes))
    yield from in_processes(partial(_answer_in_child, order), scans, processes, _died, begin)


def _died(scan: Scan) -> "Outcome":
    from med3d_cli.bids.scans import Outcome

    return Outcome(scan.name.stem, RunStatus.FAILED, code=PROCESS_DIED)


def _open_in_child(model: Model, processes: int) -> None:
    _opened.append(model.open(processes))


def _answer_in_child(order: "Order", scan: Scan) -> "Outcome":
    from med3d_cli.bids.scans import answer_scan

    return answer_scan(_opened[0], scan, order)

"""`med3d bids IN OUT participant|group`: a BIDS App."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from med3d_cli.bids.arguments import labels
from med3d_cli.errors import CommandError
from med3d_cli.extras import extra
from med3d_cli.studies.analyse import EXIT_FAILED, exit_code
from med3d_cli.studies.opened_model import Model
from med3d_contract.results import RunStatus
from med3d_pipeline.counting import counted

if TYPE_CHECKING:
    from med3d_cli.bids.dataset import Dataset
    from med3d_cli.bids.scans import Outcome


DISK_FULL = "disk_full"


class Level(StrEnum):
    """The levels of analysis."""

    PARTICIPANT = "participant"
    GROUP = "group"


def bids(
    dataset: Annotated[Path, typer.Argument(metavar="IN", exists=True, file_okay=False, help="A BIDS dataset.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", file_okay=False, help="The derivative, such as IN/derivatives/med3d.")
    ],
    level: Annotated[Level, typer.Argument(help="Each scan by itself, or what all gave together.")],
    participant_label: Annotated[
        list[str] | None, typer.Option(help="Of these participants alone, with or without sub-.")
    ] = None,
    session_label: Annotated[list[str] | None, typer.Option(help="Of these sessions alone.")] = None,
    n_procs: Annotated[int, typer.Option(min=1, max=256, help="Processes; each takes about 2 GB.")] = 1,
    skip_bids_validation: Annotated[
        bool, typer.Option("--skip-bids-validation", help="Do not look at IN by the rules of BIDS first.")
    ] = False,
    tensor: Annotated[
        bool, typer.Option("--tensor", help="Write the head in template space (MNI152NLin2009aSym), too.")
    ] = False,
    bundle: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the model.")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Site calibration (med3d calibrate); all scans are of its site."
        ),
    ] = None,
) -> None:
    """Analyse the T1-weighted heads (_T1w) of a BIDS dataset into a BIDS derivative.

    A scan whose answer is there is not done again, unless its image, its tables or sidecars, the model or this program
    changed; failures are. Leaves with 0 where every scan has a number, 3 where one was refused, 4 where one failed; the
    group level with 0, or 4 where a scan has no answer that stands.
    """
    with extra("worker"):
        from med3d_cli.bids.dataset import read_dataset
        from med3d_cli.bids.derivative import begin_derivative
        from med3d_cli.bids.processes import answer_all
        from med3d_cli.bids.scans import Order
        from med3d_cli.bids.validation import require_valid
        from med3d_cli.reports.mosaics import SLICES
    stderr = Console(stderr=True)
    found = read_dataset(dataset, labels(participant_label), labels(session_label))
    _tell_found(found, stderr)
    if not skip_bids_validation and (unchecked := require_valid(found)):
        stderr.print(unchecked, markup=False, highlight=False, soft_wrap=True)
    begin_derivative(out, dataset)
    if level is Level.PARTICIPANT:
        order = Order(dataset, out, with_tensor=tensor)
        outcomes = answer_all(
            Model(bundle, calibration, slices=SLICES), found.scans, order, min(n_procs, len(found.scans) or 1)
        )
        raise typer.Exit(exit_code(_follow(outcomes, len(found.scans), stderr)))
    raise typer.Exit(_write_group(found, out, stderr))


def _write_group(found: "Dataset", out: Path, stderr: Console) -> int:
    """Write the group's files and return the exit status: 4 where scans have no answer that stands."""
    from med3d_cli.bids.group_page import write_page
    from med3d_cli.bids.group_rows import NOT_ANALYSED, group_rows
    from med3d_cli.bids.group_table import TABLE, write_table
    from med3d_cli.bids.scans import PAGE

    rows = group_rows(found, out)
    try:
        write_table(out, rows)
        write_page(out, found, rows)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error
    counts = Counter(row.status for row in rows)
    said = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(counts.items()))
    stderr.print(
        f"{counted(len(rows), 'row', 'rows')}: {said}; see {TABLE} and {PAGE}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if stale := sum(row.is_stale for row in rows):
        said = "tables or sidecars of the dataset have changed since; run the participant level again"
        old = counted(stale, "answer is old", "answers are old")
        stderr.print(f"{old}: {said}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    return EXIT_FAILED if counts[NOT_ANALYSED] or counts[RunStatus.FAILED] or stale else 0


def _follow(outcomes: Iterable["Outcome"], scans: int, stderr: Console) -> Counter[RunStatus]:
    """Print a line for each scan as it ends, up to one that the disk had no room for; count."""
    counts: Counter[RunStatus] = Counter()
    kept = 0
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=stderr, transient=True) as progress:
        bar = progress.add_task("analysing", total=scans)
        for outcome in outcomes:
            typer.echo(_line(outcome))
            if outcome.status is RunStatus.FAILED:
                stderr.print(
                    f"{outcome.scan}: {outcome.reason}", style="red", markup=False, highlight=False, soft_wrap=True
                )
            counts[outcome.status] += 1
            kept += outcome.kept
            progress.advance(bar)
            if outcome.code == DISK_FULL:
                break  # each of the others would be analysed, and lost
    parts = [f"{counts[status]} {status.value}" for status in RunStatus if counts[status]]
    again = f" ({kept} of them as they were)" if kept else ""
    done = f"{counted(scans, 'scan', 'scans')}: {', '.join(parts)}{again}" if scans else "there is no scan to analyse"
    stderr.print(done, highlight=False, soft_wrap=True)
    if sum(counts.values()) < scans:
        said = "no room is left on the disk: make some and run the same command again; answers that are there stand"
        stderr.print(said, style="red", markup=False, highlight=False, soft_wrap=True)
    return counts


def _line(outcome: "Outcome") -> str:
    if outcome.estimate_years is None:
        return f"{outcome.scan}\t{outcome.status.value}\t{outcome.code or ''}"
    look = ", to be reviewed" if outcome.for_review else ""
    return f"{outcome.scan}\t{outcome.status.value}\t{outcome.estimate_years:.1f} years{look}"


def _tell_found(found: "Dataset", stderr: Console) -> None:
    """Say what is not analysed, and why: nothing is left out in silence. Raises CommandError where nothing is there."""
    from med3d_cli.bids.derivative import holds_derivatives

    if holds_derivatives(found):
        raise CommandError(
            f"{found.root} holds what a program has made of images (derivatives), and no T1w as it was scanned: name "
            "the dataset that it was made of, mostly the folder above `derivatives`"
        )
    if not found.scans and not found.missing:
        raise CommandError("no image has a name in _T1w")
    if found.passed_over:
        said = ", ".join(f"{count} {why}" for why, count in found.passed_over.items())
        stderr.print(f"passed over: {said}", markup=False, highlight=False, soft_wrap=True)
    for one in found.missing:
        where = "_".join(filter(None, (one.participant, one.session)))
        stderr.print(
            f"missing: {one.name.stem if one.name else where}: {one.sentence}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for path in found.unreadable_sidecars:
        stderr.print(
            f"ignored: {path.name} is no JSON object", markup=False, highlight=False, soft_wrap=True, style="yellow"
        )

"""`med3d watch`: for sites that have neither a PACS nor DICOMweb to send from."""

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from med3d_cli.connection import connect
from med3d_cli.studies.watched_folder import WatchedFolder, holds_links
from med3d_client.results import ResultsClient, StudyOptions
from med3d_client.study_stream import UnsendableStudy, open_study
from med3d_client.transport import ApiError, ApiUnavailable
from med3d_contract.results import Priority

LONGEST_PAUSE_S = 60.0
OURS_TO_MEND = frozenset({401, 403, 429})
"""What says nothing about the study: a key that is not right (yet), or too many at once."""


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Where studies are put.")],
    quiet: Annotated[float, typer.Option(min=0, help="Seconds without change until a study counts as whole.")] = 10.0,
    every: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks.")] = 2.0,
    priority: Annotated[Priority | None, typer.Option(help="Of all studies from this folder.")] = None,
    bundle: Annotated[str | None, typer.Option(help="A model other than the default one.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when all that is there was sent.")] = False,
) -> None:
    """Send every study that is put into DIR: a sub-folder, an archive or a file each.

    Senders who rename a study into DIR when it is whole may use --quiet 0. Sent studies are kept in DIR/done, others in
    DIR/refused, each with a note (NAME.json).
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    watched = WatchedFolder(folder, quiet)
    hand_over = HandOver(watched, connect(), StudyOptions(priority=priority, bundle=bundle))
    with watched.held():
        typer.echo(f"watching {folder}")
        pause_s = every
        while not stopped.is_set():
            taken = hand_over.look(stopped)
            if once and taken and not watched.waits:
                return
            pause_s = every if taken else min(2 * pause_s, LONGEST_PAUSE_S)
            stopped.wait(pause_s)


class HandOver:
    """Sends what the folder holds. No name of a file is told: it may be a patient's."""

    def __init__(self, watched: WatchedFolder, client: ResultsClient, options: StudyOptions) -> None:
        self._watched = watched
        self._client = client
        self._options = options
        self._away = False

    def look(self, stopped: threading.Event) -> bool:
        """Send what has arrived in full; False where the service cannot take it now, and it waits."""
        for taken in self._watched.take():
            if stopped.is_set():
                return True
            try:
                self._send(taken)
            except ApiUnavailable as error:
                self._tell_away(str(error))
                return False
        return True

    def _send(self, taken: Path) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        if holds_links(taken):
            reason = "It holds a link to another place. Put the files themselves here."
            self._refuse(taken, {"code": "holds_links", "reason": reason, "refused_at": at})
            return
        try:
            with open_study(taken) as upload:
                sent = self._client.submit(upload, self._options)
        except ApiError as error:
            if error.status >= 500 or error.status in OURS_TO_MEND:
                raise ApiUnavailable(str(error)) from error
            self._refuse(taken, {"code": error.code, "reason": error.detail, "refused_at": at})
        except (UnsendableStudy, OSError) as error:
            self._refuse(taken, {"code": "unreadable", "reason": str(error), "refused_at": at})
        else:
            known = {"known": "the service had this study already"} if sent.known else {}
            note = {"study_id": sent.study_id, "run_id": sent.run_id, "sent_at": at} | known
            self._watched.done(taken, note)
            typer.echo(f"sent: study {sent.study_id}, run {sent.run_id}")
            self._away = False

    def _refuse(self, taken: Path, note: dict[str, str]) -> None:
        self._watched.refused(taken, note)
        typer.echo(f"refused: {note['code']}; see the note in refused/", err=True)

    def _tell_away(self, why: str) -> None:
        if not self._away:  # once, not every time
            typer.echo(f"waiting for the service: {' '.join(why.split())}", err=True)
        self._away = True

"""Asking the PACS that has just sent how many images it holds, so that a study need not be quiet to be complete."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from med3d_service.network.peers import Peers
from med3d_service.network.peers.asking import PeerError, PeerSource
from med3d_service.network.peers.opening import peer_source

log = structlog.get_logger()
MOST_WAITING = 1000


class ExpectsInstances(Protocol):
    """The part of ``Arrivals`` that is needed here."""

    def expect(self, site: str, study_uid: str, instances: int) -> None:
        """Note how many instances the PACS holds of a study."""
        ...


@dataclass(frozen=True)
class _Question:
    peer: str
    site: str
    study_uid: str = field(repr=False)


class ExpectedCounts:
    """Asks in a thread of its own; a peer that does not answer costs nothing but the quiet period.

    Only who sends is asked, and only a PACS (a configured DIMSE peer): what a scanner holds is not yet a study.
    """

    def __init__(
        self,
        peers: Peers,
        arrivals: ExpectsInstances,
        open_peer: Callable[[Peers, str, str], PeerSource] = peer_source,
    ) -> None:
        self._peers = peers
        self._names = {peer.ae_title: name for name, peer in peers.dimse.items()}
        self._arrivals = arrivals
        self._open_peer = open_peer
        self._questions: queue.Queue[_Question | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="expected-counts", daemon=True)
        self._thread.start()

    def ask(self, calling_ae_title: str, site: str, study_uids: frozenset[str]) -> None:
        """Ask who has sent these studies about them, if it is a configured peer; returns at once."""
        name = self._names.get(calling_ae_title)
        for study_uid in study_uids if name is not None else ():
            try:
                self._questions.put_nowait(_Question(str(name), site, study_uid))
            except queue.Full:
                return

    def close(self) -> None:
        """Ask no more."""
        self._questions.put(None)
        self._thread.join(1.0)

    def _work(self) -> None:
        while (question := self._questions.get()) is not None:
            try:
                self._answer(question)
            except PeerError as error:
                log.info("count_not_known", peer=question.peer, code=error.code)
            except Exception:  # the edge of this thread
                log.exception("count_failed", peer=question.peer)

    def _answer(self, question: _Question) -> None:
        peer = self._open_peer(self._peers, "dimse", question.peer)
        try:
            series = [one for one in peer.list_series(question.study_uid) if one.modality in {"MR", ""}]
        finally:
            peer.close()
        counts = [one.instances for one in series if one.instances is not None]
        if series and len(counts) == len(series):
            self._arrivals.expect(question.site, question.study_uid, sum(counts))

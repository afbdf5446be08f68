"""One pull after the other: find, list the series, take the MR ones in, and say that the study is whole."""

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from med3d_contract.sent_files.content import dataset_offset
from med3d_service.network.peers import Peers
from med3d_service.network.peers.asking import FoundSeries, ListsInstances, PeerError, PeerSource
from med3d_service.network.peers.opening import peer_source
from med3d_service.network.pulls.line import SEARCH, ClaimedPull, Fetched, Origin, PullLine
from med3d_service.problems import ServiceError
from med3d_service.studies.arrivals.arrivals import Arrivals, Arrived, Source, StoreFull
from med3d_service.studies.arrivals.instance_parts import InstanceParts, Receive, TakenPart
from med3d_service.studies.dicom_instances.instance_headers import HEAD_BYTES, InstanceRefused
from med3d_service.studies.identity import TailDigest

log = structlog.get_logger()


class Stopping(Protocol):
    """Tells whether this process has to end."""

    @property
    def is_set(self) -> bool:
        """It has."""


class StoppedError(Exception):
    """The process has to end."""


class LostError(Exception):
    """The pull is no longer ours."""


class Fetcher:
    """Works on pulls, one at a time; several fetchers may work side by side, in one process or in many."""

    def __init__(
        self,
        pulls: PullLine,
        peers: Peers,
        arrivals: Arrivals,
        stopping: Stopping,
        *,
        lease_s: float,
        opened: Callable[[Peers, str, str], PeerSource] = peer_source,
    ) -> None:
        self._pulls, self._peers, self._arrivals = pulls, peers, arrivals
        self._opened = opened
        self._lease_s = lease_s
        self._stopping = stopping

    def fetch(self, pull: ClaimedPull) -> None:
        """Work on a pull until it is over, or waits for its next try."""
        said = {"pull_id": pull.id, "source": pull.source, "peer": pull.peer, "tries": pull.tries}
        try:
            self._work_on(pull)
        except StoppedError:
            self._pulls.give_back(pull)
        except LostError:
            log.warning("pull_lost", **said)
        except PeerError as error:
            log.warning("pull_not_done", code=error.code, **said)
            self._pulls.failed(pull, error.code, error.reason, may_pass=error.may_pass)
        except ServiceError as error:  # no bundle yet, or one that the rules name and nobody carries
            log.warning("pull_not_done", code=error.code, **said)
            self._pulls.failed(pull, error.code, error.detail, may_pass=True)
        except Exception:
            log.exception("pull_failed", **said)  # the edge: what failed is tried again, and is seen
            broken = PeerError("internal_error")
            self._pulls.failed(pull, broken.code, broken.reason, may_pass=broken.may_pass)
        else:
            log.info("pull_done", **said)

    def _work_on(self, pull: ClaimedPull) -> None:
        peer = self._opened(self._peers, pull.source, pull.peer)
        try:
            if pull.kind == SEARCH:
                self._search(pull, peer)
            else:
                self._fetch(pull, peer)
        finally:
            peer.close()

    def _search(self, pull: ClaimedPull, peer: PeerSource) -> None:
        found = peer.find_studies(pull.wanted.matching())
        if not found:
            raise PeerError("nothing_found")
        origin = Origin(site=pull.site, kind="request", source=pull.source, peer=pull.peer)
        self._pulls.found(pull, origin, [study.study_uid for study in found])

    def _fetch(self, pull: ClaimedPull, peer: PeerSource) -> None:
        study_uid = pull.wanted.study_uid
        assert study_uid is not None
        series = peer.list_series(study_uid)
        if not series:
            raise PeerError("nothing_found")
        wanted = [one for one in series if one.modality in {"MR", ""}]
        skipped = sum(one.instances or 0 for one in series if one not in wanted)
        taken = refused = 0
        keep = self._keeper(pull)
        for one in wanted:
            keep()
            known = self._known_instances(pull, peer, study_uid, one)
            if known:
                taken += known
                log.info("series_known", pull_id=pull.id, instances=known)
                continue
            parts = self._fetch_series(pull, peer, study_uid, one, keep)
            refused += sum(isinstance(part.error, InstanceRefused) for part in parts)
            taken += sum(part.arrival is not None and part.arrival.outcome is not Arrived.IGNORED for part in parts)
            if peer.delivers_to_listener:
                taken += one.instances or 0
        completion = self._arrivals.mark_complete(pull.site, study_uid)
        fetched = Fetched(
            instances=taken,
            skipped_instances=skipped + refused,
            arrival_id=completion.arrival_id,
            study_id=completion.study_id,
            run_id=completion.run_id,
        )
        self._pulls.done(pull, fetched)

    def _known_instances(self, pull: ClaimedPull, peer: PeerSource, study_uid: str, series: FoundSeries) -> int:
        """Tell how many instances the series has where all of them are here already, as the peer has them; else 0.

        A study also becomes stable at its peer when our own results join it. Each instance must be known by its UID,
        and the first byte by byte: a study whose patient was corrected keeps its UIDs, and is fetched again.
        """
        if not isinstance(peer, ListsInstances) or not self._arrivals.knows(pull.site, study_uid):
            return 0
        sop_uids = peer.list_instances(study_uid, series.series_uid)
        if not sop_uids or not self._arrivals.knows(pull.site, study_uid, sop_uids):
            return 0
        digest = _Digest()
        peer.fetch_instance(study_uid, series.series_uid, sop_uids[0], digest)
        unchanged = self._arrivals.knows(pull.site, study_uid, sop_uids[:1], digest.finish())
        return len(sop_uids) if unchanged else 0

    def _fetch_series(
        self, pull: ClaimedPull, peer: PeerSource, study_uid: str, series: FoundSeries, keep: Callable[[], None]
    ) -> list[TakenPart]:
        source = Source(kind="pull", site=pull.site, peer=pull.peer)
        instances = _Watched(lambda file: self._arrivals.receive_instance(file, source), keep)
        try:
            sent = peer.fetch_series(study_uid, series.series_uid, instances)
            parts = instances.finish()
        finally:
            instances.close()
        for part in parts:
            if isinstance(part.error, StoreFull):
                raise PeerError("store_full") from part.error
            if part.error is not None and not isinstance(part.error, InstanceRefused):
                raise part.error
        if series.instances is not None and sent < series.instances:
            raise PeerError("answer_incomplete")
        return parts

    def _keeper(self, pull: ClaimedPull) -> Callable[[], None]:
        """Make what is called again and again during a long fetch: it renews the lease now and then."""
        every_s = self._lease_s / 4
        last = time.monotonic()

        def keep() -> None:
            nonlocal last
            if self._stopping.is_set:
                raise StoppedError
            if time.monotonic() - last > every_s:
                last = time.monotonic()
                if not self._pulls.renew(pull):
                    raise LostError

        return keep


class _Watched(InstanceParts):
    """Takes instances in while the pull is ours and the process goes on."""

    def __init__(self, receive: Receive, keep: Callable[[], None]) -> None:
        super().__init__(receive)
        self._keep = keep

    def begin(self) -> None:
        """Start the next instance."""
        self._keep()
        super().begin()

    def take(self, file: bytes) -> None:
        """Take a whole instance."""
        self._keep()
        super().take(file)


class _Digest:
    """Digests one instance as intake does, and keeps nothing of it."""

    def __init__(self) -> None:
        self._file = bytearray()

    def begin(self) -> None:
        """Start the instance."""
        self._file.clear()

    def write(self, data: bytes) -> None:
        """Take a piece of it."""
        self._file += data

    def end(self) -> None:
        """End it."""

    def take(self, file: bytes) -> None:
        """Take it whole."""
        self._file[:] = file

    def finish(self) -> str:
        """Return the digest of its data set."""
        digester = TailDigest(dataset_offset(bytes(self._file[:HEAD_BYTES])) or 0)
        digester.update(bytes(self._file))
        return digester.finish()

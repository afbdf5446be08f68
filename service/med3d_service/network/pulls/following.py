"""Reading an Orthanc's log of changes, so that a hook's call that was lost costs a minute or so and no study."""

import re
from dataclasses import dataclass
from typing import Any

import httpx
import structlog
from sqlalchemy.orm import Session

from med3d_contract.json_files import read_json
from med3d_service.network.peers.asking import PeerError
from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.network.peers.reaching import code_of
from med3d_service.network.pulls.hooks import occasion_of
from med3d_service.network.pulls.line import AT_ONCE, Origin, PullLine
from med3d_service.network.pulls.tables import FollowedPeerRow
from med3d_service.network.pulls.wanted import Wanted
from med3d_service.storage.database import Database

log = structlog.get_logger()
PAGE = 1000
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class _Stable:
    study_uid: str
    last_update: str


class Follower:
    """Follows one Orthanc. The first look only notes where its log stands: what was there before was not ours to do."""

    def __init__(self, database: Database, pulls: PullLine, site: str, name: str, peer: DicomwebPeer) -> None:
        assert peer.orthanc is not None
        self.every_s = peer.orthanc.follow_changes_s
        self._database, self._pulls, self._site = database, pulls, peer.own_site(site)
        self._name = name
        self._http = httpx.Client(
            base_url=peer.orthanc.base_url,
            auth=peer.basic_auth,
            headers=peer.headers,
            verify=peer.verify,
            timeout=peer.timeout_s,
            trust_env=False,
        )

    def look(self) -> int:
        """Read what is new in the log; how many studies went into the line. Raises PeerError."""
        with self._database.read() as session:
            row = session.get(FollowedPeerRow, self._name)
            last_seq = None if row is None else row.last_seq
        newest = self._last_seq()
        if last_seq is None or newest < last_seq:  # a log that is shorter than what was read is another log
            last_seq = newest if last_seq is None else 0
            with self._database.write() as session:
                session.merge(FollowedPeerRow(peer=self._name, last_seq=last_seq))
        asked = 0
        while last_seq < newest:
            page = self._get("/changes", since=last_seq, limit=PAGE)
            stable = [self._stable(change["ID"]) for change in _changes(page) if change["ChangeType"] == "StableStudy"]
            with self._database.write() as session:
                asked += sum(self._ask(session, study) for study in stable if study is not None)
                session.merge(FollowedPeerRow(peer=self._name, last_seq=_seq(page)))
            if page.get("Done") or _seq(page) <= last_seq:
                break
            last_seq = _seq(page)
        if asked:
            log.info("stable_studies_found", peer=self._name, count=asked)
        return asked

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _last_seq(self) -> int:
        return _seq(self._get("/changes", last=""))

    def _stable(self, orthanc_id: str) -> _Stable | None:
        """Return a study as it stands now; None where it is gone, or grows again and will be told of once more."""
        if not re.fullmatch(r"[0-9a-f-]{44}", orthanc_id):
            raise PeerError("answer_damaged")
        try:
            study = self._get(f"/studies/{orthanc_id}")
        except PeerError as error:
            if error.code == "nothing_found":
                return None
            raise
        tags = study.get("MainDicomTags")
        study_uid = str(tags.get("StudyInstanceUID", "")) if isinstance(tags, dict) else ""
        if not study.get("IsStable") or not _UID.fullmatch(study_uid):
            return None
        return _Stable(study_uid, str(study.get("LastUpdate", "")))

    def _ask(self, session: Session, study: _Stable) -> int:
        origin = Origin(site=self._site, kind="changes", source="dicomweb", peer=self._name)
        occasion = occasion_of(study.study_uid, study.last_update)
        wanted = Wanted(study_uid=study.study_uid)
        _, known = self._pulls.ask(session, origin, wanted, urgency=AT_ONCE, occasion=occasion)
        return 0 if known else 1

    def _get(self, path: str, **query: str | int) -> dict[str, Any]:
        try:
            response = self._http.get(path, params=query)
            if response.status_code == 404:
                raise PeerError("nothing_found")
            if response.status_code in {401, 403}:
                raise PeerError("peer_denied")
            if response.status_code != 200:
                raise PeerError("peer_failed")
            answer = read_json(response.content)
        except httpx.HTTPError as error:
            raise PeerError(code_of(error)) from error
        except ValueError as error:
            raise PeerError("answer_damaged") from error
        if not isinstance(answer, dict):
            raise PeerError("answer_damaged")
        return answer


def _seq(page: dict[str, Any]) -> int:
    last = page.get("Last")
    if not isinstance(last, int):
        raise PeerError("answer_damaged")
    return last


def _changes(page: dict[str, Any]) -> list[dict[str, str]]:
    changes = page.get("Changes")
    if not isinstance(changes, list):
        raise PeerError("answer_damaged")
    named = [change for change in changes if isinstance(change, dict)]
    return [{"ChangeType": str(change.get("ChangeType")), "ID": str(change.get("ID"))} for change in named]

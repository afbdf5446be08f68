"""The API in this process, for tests that need no network: a database with two sites' studies, a broker in memory."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI

from med3d_contract.cohorts import CohortDraft, MemberFilter
from med3d_pages import front
from med3d_service.api.service import Service
from med3d_service.cohorts.members import create_cohort
from med3d_service.network.pulls.line import ASKED, Origin
from med3d_service.network.pulls.wanted import PullRequest
from med3d_service.processes.api import create_app
from med3d_service.results.kinds import Kind
from med3d_service.runs import transitions
from med3d_service.settings import Settings
from med3d_service.storage.tables import CalibrationRow, DeliveryRow, RunRow
from med3d_service.trust.access import Grant, Role
from med3d_service.trust.access.api_keys import create_key
from rig.service.parts import LEASES, MemoryBroker, add_run, migrated, refused, worker
from rig.service.work import BUNDLE

CALIBRATION_DIGEST = "ca" * 32


@dataclass
class Api:
    """An app and the ids of one refused run's study, run, delivery and pull, of the settings' site."""

    app: FastAPI
    client: httpx.AsyncClient
    settings: Settings
    ids: dict[str, str]

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def key(self, role: Role, *, clinical: bool = False, site: str = "*", **more: Any) -> str:
        with self.service.database.write() as session:
            return create_key(session, Grant(role, clinical, site), **more).text

    def request(self, method: str, path: str, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= more.pop("headers", {})
        with start_blocking_portal() as portal:
            return portal.call(partial(self.client.request, method, path, headers=headers, **more))

    def close(self) -> None:
        self.service.arrivals.close()
        self.service.database.close()


def open_api(data_dir: Path, **settings: Any) -> Api:
    """An API on a new database, with one study that has everything."""
    made = empty_api(data_dir, **settings)
    made.ids = _one_of_each(made.service)
    return made


def empty_api(data_dir: Path, **settings: Any) -> Api:
    """An API on an empty database."""
    made = migrated(data_dir, **settings)
    app = create_app(made, front())
    app.state.service = replace(app.state.service, broker=MemoryBroker())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://med3d")
    return Api(app, client, made, {})


def _one_of_each(service: Service) -> dict[str, str]:
    run_id = add_run(service.database)
    with service.database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_outcome(session, run_id, refused(run.attempt), LEASES)
        study_id = session.query(RunRow).where(RunRow.id == run_id).one().study_id
        session.add(_delivery(run_id))
        session.add(_calibration())
        wanted = PullRequest.model_validate({"source": "dicomweb", "peer": "archive", "accession": "A-1"})
        origin = Origin(site="default", kind="request", source="dicomweb", peer="archive")
        pull, _known = service.pulls.ask(session, origin, wanted.wanted(), urgency=ASKED)
        pull_id = pull.id
        service.vault.keep(session, study_id, "subject", "S-1")
        cohort = create_cohort(session, "default", CohortDraft(name="walked", member_filter=MemberFilter()))
    return {
        "study_id": study_id,
        "study_uid": "1.2.826.0.1.3680043.8.498.77",  # of what comes: nothing of it is there
        "run_id": run_id,
        "plane": "axial",
        "volume": "head",
        "delivery_id": f"delivery-of-{run_id}"[:36],
        "pull_id": pull_id,
        "key_prefix": "fedcba98",
        "session_id": "fedcba9876543210",
        "bundle_digest": BUNDLE.digest,
        "calibration_digest": CALIBRATION_DIGEST,
        "cohort": cohort.id,
        "view_id": "fedcba98-view",
        "subject_id": service.vault.blind_index("subject", "S-1"),
    }


def _calibration() -> CalibrationRow:
    return CalibrationRow(
        digest=CALIBRATION_DIGEST,
        owner="default",
        bundle_digest=BUNDLE.digest,
        site="Ward 3",
        heads=20,
        created="2026-03-01",
        expires="2027-03-01",
        file=b"{}",
        signature=bytes(64),
        added_at=0.0,
        withdrawn_at=None,
    )


def _delivery(run_id: str) -> DeliveryRow:
    return DeliveryRow(
        id=f"delivery-of-{run_id}"[:36],
        run_id=run_id,
        kind=Kind.EVENT,
        destination="webhook:his",
        object_uid="x",
        status="dead",
        tries=1,
        created_at=0.0,
        next_try_at=0.0,
        give_up_at=0.0,
    )

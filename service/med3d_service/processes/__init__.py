"""What a supervisor starts: each function runs one process of the service until SIGTERM or SIGINT.

They return after a clean stop (under 5 s) and expect ``migrate`` to have been called before. ``python -m med3d_service
api|courier|scheduler|migrate|keys`` calls the same functions with settings from the environment.
"""

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from med3d_service.settings import Settings

if TYPE_CHECKING:  # what it needs is slow to import
    from med3d_service.api.app import Front
    from med3d_service.custody.key_rotation import Rotated
    from med3d_service.custody.site_key_rotation import SiteKeyRotated


def migrate(settings: Settings) -> None:
    """Make the folders and keys, and bring the database's schema to this version.

    Raises ValueError for what the settings, the keys or the schema do not allow; its message says what to do.
    """
    from med3d_service.network.listener.server import check_listener
    from med3d_service.network.peers import load_peers
    from med3d_service.results.delivery.destinations import load_destinations
    from med3d_service.storage.database import upgrade_schema
    from med3d_service.storage.keys import load_keys, require_site_key
    from med3d_service.storage.opening import guard_for, open_database
    from med3d_service.storage.store_identity import establish_store
    from med3d_service.studies.arrivals.routing import load_rules
    from med3d_service.trust.audit import AuditTrail
    from med3d_service.trust.establishing import establish_trust

    load_peers(settings.peers_file)  # a mistake is told before anything starts
    load_destinations(settings)
    load_rules(settings.rules_file)
    check_listener(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.spool_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.database_url is None and (settings.data_dir / "med3d.sqlite").exists():
        require_site_key(settings)
    keys = load_keys(settings)
    upgrade_schema(settings)
    guard = guard_for(settings, keys)
    with closing(open_database(settings, keys, guard)) as database:
        establish_trust(database, guard, AuditTrail(database, keys.audit, keys.older_audit))
    if settings.store.startswith("file:"):  # of another store the API sees to it, as soon as it can be reached
        with closing(open_database(settings, keys)) as database:
            establish_store(settings, database)


def expect_worker(settings: Settings, bundle_dir: Path) -> None:
    """Expect the one worker that a supervisor is about to start: no other is alive, and runs are by its bundle.

    Else a service that was started again would count on the worker of before, or wait for a bundle that nobody carries
    any more. ``settings.default_bundle`` goes before it. A bundle that cannot be read is left for the worker to tell.
    """
    from med3d_service.runs.bundles import make_default, read_bundle_dir, register_bundles
    from med3d_service.storage.opening import open_database
    from med3d_service.storage.tables import BundleRow, WorkerRow

    database = open_database(settings)
    try:
        with database.write() as session:
            session.query(WorkerRow).delete()
            with suppress(OSError, ValueError, KeyError):
                bundle = read_bundle_dir(bundle_dir)
                register_bundles(session, [bundle])
                if settings.default_bundle is None:
                    make_default(session, session.get_one(BundleRow, bundle.digest))
    finally:
        database.close()


def ensure_api_key(settings: Settings, kind: Literal["client", "clinical", "worker"], path: Path) -> None:
    """Leave a working API key in the file ``path`` (mode 0600): the one there, else a new one.

    ``client`` is an operator's key for the settings' site, ``clinical`` the same with the clinical grant.
    """
    from med3d_service.trust.access import Grant, Role
    from med3d_service.trust.access.api_keys import ensure_key_file

    role = Role.WORKER if kind == "worker" else Role.OPERATOR
    ensure_key_file(settings, Grant(role, clinical=kind == "clinical", site=settings.site), path)


def ensure_api_keys(settings: Settings, folder: Path, worker_folder: Path | None = None) -> None:
    """Leave working keys in ``folder``: client.key and clinical.key for people, worker.key for the workers.

    The latter goes to ``worker_folder`` where one is given: workers must not see the others.
    """
    ensure_api_key(settings, "client", folder / "client.key")
    ensure_api_key(settings, "clinical", folder / "clinical.key")
    ensure_api_key(settings, "worker", (worker_folder or folder) / "worker.key")


def rotate_identifier_key(settings: Settings) -> "Rotated":
    """Seal all identifiers under a new key; see med3d_service.custody.key_rotation."""
    from med3d_service.custody.key_rotation import rotate_identifier_key as rotate

    return rotate(settings)


def rotate_site_key(settings: Settings) -> "SiteKeyRotated":
    """Seal everything under a new site key; see med3d_service.custody.site_key_rotation."""
    from med3d_service.custody.site_key_rotation import rotate_site_key as rotate

    return rotate(settings)


def run_api(
    settings: Settings, front: "Front | None" = None, *, port: int | None = None, socket: Path | None = None
) -> None:
    """Serve the results API on ``settings.host`` and ``port`` (default: the settings'), or on a Unix socket.

    ``front`` is served beside it.
    """
    from med3d_service.processes.api import serve

    serve(settings, front, port=settings.port if port is None else port, socket=socket)


def run_listener(settings: Settings) -> None:
    """Take DICOM instances by C-STORE."""
    from med3d_service.processes.listener import run

    run(settings)


def run_hl7(settings: Settings) -> None:
    """Take corrections of patients by HL7 v2 ADT messages."""
    from med3d_service.processes.hl7 import run

    run(settings)


def run_courier(settings: Settings) -> None:
    """Write de-identified working copies of the studies that have none."""
    from med3d_service.processes.courier import run

    run(settings)


def run_scheduler(settings: Settings) -> None:
    """Return lost leases, send again what was lost, adopt stored outcomes, remove leftovers."""
    from med3d_service.processes.scheduler import run

    run(settings)


def run_fetcher(settings: Settings) -> None:
    """Fetch studies from the configured peers, and follow the changes of those that are Orthancs."""
    from med3d_service.processes.fetcher import run

    run(settings)


def run_deliverer(settings: Settings) -> None:
    """Send answers to where the deliveries' file says."""
    from med3d_service.processes.deliverer import run

    run(settings)

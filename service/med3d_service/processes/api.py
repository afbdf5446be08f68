"""The API's process: its parts, the app on them, and the server."""

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from med3d_service.api.app import Front, build_app
from med3d_service.api.door.connections import Room
from med3d_service.api.door.protocol import bounded_protocol
from med3d_service.api.service import Service
from med3d_service.logs import configure_logging
from med3d_service.network.peers import load_peers
from med3d_service.network.pulls.hooks import Hooks
from med3d_service.network.pulls.line import PullLine
from med3d_service.processes.composition import Essentials
from med3d_service.runs.endings import Leases
from med3d_service.runs.queueing.dispatch import CeleryBroker
from med3d_service.settings import Settings, is_everywhere
from med3d_service.studies.uploads.recording import StudyRecorder

STOP_S = 3
M_ARENA_MAX, ARENAS = -8, 2  # mallopt(3)


def compose(settings: Settings) -> Service:
    """Open database, store and broker as the settings say; nothing is connected to yet."""
    parts = Essentials.open(settings)
    peers = load_peers(settings.peers_file)
    pulls = PullLine(parts.database, parts.vault, settings)
    return Service(
        settings=settings,
        keys=parts.keys,
        database=parts.database,
        store=parts.store,
        broker=CeleryBroker(settings.broker_url.get_secret_value()),
        vault=parts.vault,
        recorder=StudyRecorder(parts.database, parts.store, parts.vault),
        arrivals=parts.arrivals(),
        leases=Leases.of(settings),
        peers=peers,
        pulls=pulls,
        hooks=Hooks(parts.database, peers, pulls, site=settings.site, age_s=settings.hook_age_s),
        audit=parts.trail,
    )


def create_app(settings: Settings, front: Front | None = None) -> FastAPI:
    """Make the API. The database's schema must be there (see processes.migrate)."""
    return build_app(compose(settings), front)


class _Server(uvicorn.Server):
    """Ends like the other processes of the service: a signal that was heeded is not raised again."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del sig, frame
        self.should_exit = True


def _share_arenas() -> None:
    """Let threads share two arenas of glibc's malloc: with one each, pieces of uploads pile up in all of them."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def serve(settings: Settings, front: Front | None, *, port: int, socket: Path | None) -> None:
    """Run the API until SIGTERM or SIGINT; what is under way gets STOP_S seconds."""
    configure_logging()
    _share_arenas()
    app = create_app(settings, front)
    # Half a million objects of imports and schemas live as long as the process: looking through them at each full
    # collection would hold up one request in a hundred for a tenth of a second.
    gc.collect()
    gc.freeze()
    room = Room.of(settings)
    config = uvicorn.Config(
        app,
        host="" if is_everywhere(settings.host) else settings.host,  # for asyncio no name is every address
        port=port,
        uds=str(socket) if socket else None,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=None if settings.tls_key is None else str(settings.tls_key),
        access_log=False,
        log_config=None,
        http=bounded_protocol(settings, room),
        ws="none",
        backlog=room.backlog,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=STOP_S,
    )
    _Server(config).run()

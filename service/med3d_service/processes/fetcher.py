"""The process that fetches: a few fetchers, and a follower for each Orthanc, on threads of their own."""

import threading
from collections.abc import Callable
from functools import partial

import structlog

from med3d_service.logs import configure_logging
from med3d_service.network.peers import load_peers
from med3d_service.network.peers.asking import PeerError
from med3d_service.network.pulls.fetching import Fetcher
from med3d_service.network.pulls.following import Follower
from med3d_service.network.pulls.line import ClaimedPull, PullLine
from med3d_service.processes.composition import Essentials
from med3d_service.settings import Settings
from med3d_service.stopping import StopSignal
from med3d_service.trust.audit.life import audited_life

log = structlog.get_logger()
FETCHERS = 4


def run(settings: Settings) -> None:
    """Fetch and follow until SIGTERM or SIGINT."""
    configure_logging()
    stop = StopSignal(settings.alive_file)
    parts = Essentials.open(settings)
    peers, arrivals = load_peers(settings.peers_file), parts.arrivals()
    pulls = PullLine(parts.database, parts.vault, settings)
    followers = [Follower(parts.database, pulls, settings.site, name, peer) for name, peer in peers.orthancs.items()]
    fetcher = Fetcher(pulls, peers, arrivals, stop, lease_s=settings.pull_lease_s)
    take_next = partial(_next, pulls, stop, settings.fetcher_poll_s)
    looking = threading.Lock()  # of fetchers without work one looks for it, and the others wait for their turn
    work: list[Callable[[], None]] = [lambda: _fetch(fetcher, take_next, stop, looking) for _ in range(FETCHERS)]
    work += [lambda follower=follower: _follow(follower, stop) for follower in followers]  # type: ignore[misc]
    threads = [threading.Thread(target=one, name="pulls", daemon=True) for one in work]
    for thread in threads:
        thread.start()
    log.info("fetcher_started", peers=len(peers.dicomweb) + len(peers.dimse), followed=len(followers))
    with audited_life(parts.trail, "fetcher"):
        while not stop.wait(1.0):
            pass
    for thread in threads:
        thread.join(timeout=2.0)  # one that waits for a silent peer is left behind: its lease ends
    for follower in followers:
        follower.close()
    arrivals.close()
    parts.close()
    log.info("fetcher_stopped")


def _fetch(
    fetcher: Fetcher, take_next: Callable[[], ClaimedPull | None], stop: StopSignal, looking: threading.Lock
) -> None:
    while not stop.is_set:
        try:
            with looking:
                pull = take_next()
            if pull is not None:
                fetcher.fetch(pull)
        except Exception:  # the edge: a database that is away comes back
            log.exception("fetching_failed")
            stop.wait(1.0)


def _next(pulls: PullLine, stop: StopSignal, poll_s: float) -> ClaimedPull | None:
    """Wait for a pull that is due; None where the process has to end."""
    while not stop.is_set:
        pull = pulls.claim()
        if pull is not None:
            return pull
        stop.wait(poll_s)
    return None


def _follow(follower: Follower, stop: StopSignal) -> None:
    while not stop.is_set:
        try:
            follower.look()
        except PeerError as error:
            log.warning("peer_not_followed", code=error.code)
        except Exception:  # the edge: the next look is soon
            log.exception("following_failed")
        stop.wait(follower.every_s)

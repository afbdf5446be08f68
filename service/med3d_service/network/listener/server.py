"""The listener: accepts connections and gives each association a thread."""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import structlog

from med3d_service.logs import Tally
from med3d_service.network.listener import pdus
from med3d_service.network.listener.admission import plain_address
from med3d_service.network.listener.association import (
    BY_PRESENTATION,
    BY_USER,
    CALLER_UNKNOWN,
    LOCAL_LIMIT,
    PERMANENT,
    TRANSIENT,
    Association,
    TakesReports,
)
from med3d_service.network.listener.counting import ExpectedCounts
from med3d_service.network.listener.counts import ListenerCounts
from med3d_service.network.listener.own_titles import OwnTitles, load_own_titles
from med3d_service.network.listener.pdus import PduSocket
from med3d_service.network.listener.places import Places
from med3d_service.network.listener.rejections import Rejections
from med3d_service.network.peers import Peers
from med3d_service.settings import Settings, is_everywhere
from med3d_service.studies.arrivals.arrivals import Arrivals

log = structlog.get_logger()
STOP_S = 1.5
LAST_S = 1.0
BACKLOG = 128


class ListenerError(ValueError):
    """The listener cannot start as it is set; the message says why."""


def check_listener(settings: Settings) -> None:
    """See whether a listener can start with these settings.

    Raises ListenerError, InvalidCallerError, InvalidRulesError, ConfigurationError.
    """
    load_own_titles(settings)
    tls_context(settings)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return TLS as BCP 195 wants it, with certificates of the clients.

    None where none is set. Raises ListenerError.
    """
    return server_tls("dicom_tls", settings.dicom_tls_cert, settings.dicom_tls_key, settings.dicom_tls_client_ca)


def server_tls(names: str, certificate: Path | None, key: Path | None, authority: Path | None) -> ssl.SSLContext | None:
    """Return TLS that wants a certificate of who calls; ``names`` is what the settings' names begin with."""
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None or authority is None:
        raise ListenerError(f"TLS needs all of {names}_cert, {names}_key and {names}_client_ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
    except OSError as error:
        raise ListenerError(f"a TLS file cannot be used ({type(error).__name__})") from error
    return context


def listening_socket(host: str, port: int, backlog: int) -> socket.socket:
    """Listen, at ``::`` for IPv4, too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = is_everywhere(host) and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=backlog, dualstack_ipv6=both)


class Listener:
    """A listening socket and the associations that came of it."""

    def __init__(
        self,
        settings: Settings,
        peers: Peers,
        arrivals: Arrivals,
        reports: TakesReports,
        rejections: Rejections,
        counts: ListenerCounts,
        titles: OwnTitles,
    ) -> None:
        self._counted = counts
        self._settings = settings
        self._rejections = rejections
        self._arrivals = arrivals
        self._counts = ExpectedCounts(peers, arrivals)
        self._reports = reports
        self._titles = titles
        self._tls = tls_context(settings)
        self._socket = listening_socket(settings.dicom_host, settings.dicom_port, BACKLOG)
        self._stopped = threading.Event()
        self._places = Places(settings, titles.everybody)
        self._refused = Tally("associations_rejected")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    def accept(self, timeout_s: float) -> None:
        """Take one connection, if one comes in time."""
        for _ in range(self._places.cut_off_overdue()):
            self._refused.count("no_request_in_time")
            self._counted.turned_away("no_request_in_time", "")
        self._counted.write_if_due()
        self._socket.settimeout(timeout_s)
        try:
            connection, address = self._socket.accept()
        except OSError:  # nobody came, or was gone again, or there are no descriptors left
            return
        caller = plain_address(str(address[0]))
        thread = threading.Thread(target=self._serve, args=(connection, caller), name="association", daemon=True)
        because = self._places.take(thread, connection, caller)
        if because is None:
            thread.start()
        else:
            self._reject(connection, because)
            self._rejections.note(because, caller)
            self._counted.turned_away(because, caller)

    def _reject(self, connection: socket.socket, because: str) -> None:
        """Tell who has no place, without waiting for the request; what cannot be sent at once is not sent."""
        self._refused.count(because)
        unknown = because == "address_unknown"
        words = (PERMANENT, BY_USER, CALLER_UNKNOWN) if unknown else (TRANSIENT, BY_PRESENTATION, LOCAL_LIMIT)
        with suppress(OSError):
            connection.setblocking(False)
            connection.send(pdus.reject(*words))
            connection.shutdown(socket.SHUT_WR)
        connection.close()

    def _serve(self, connection: socket.socket, address: str) -> None:
        ended, instances, ae_title = "not_tls", 0, ""
        try:
            connection.settimeout(self._settings.dicom_idle_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                self._places.replace(connection)  # before the handshake: who does not end it in time is cut off, too
                connection.do_handshake()
            association = Association(
                PduSocket(connection, self._settings.dicom_idle_s),
                address,
                self._titles,
                self._arrivals,
                self._reports,
                self._stopped.is_set,
                self._places.opened,
            )
            ended = association.run()
            ae_title = association.calling_ae_title
            if ended == "rejected":
                self._rejections.note(association.because, address, ae_title)
                self._counted.turned_away(association.because, address, ae_title)
            instances = association.instances
            self._counts.ask(association.calling_ae_title, association.site, frozenset(association.study_uids))
        except OSError:  # of the handshake
            log.warning("association_rejected", reason="tls", address=address)
            self._rejections.note("tls", address)
            self._counted.turned_away("tls", address)
        except Exception:  # the edge of this thread
            log.exception("association_broke")
        finally:
            connection.close()
            self._places.leave()
        self._counted.association(ended)
        log.info("association_ended", how=ended, instances=instances, ae_title=ae_title, address=address)

    def close(self) -> None:
        """Stop listening. Associations end after the instance in hand, or are cut off after STOP_S."""
        self._stopped.set()
        self._socket.close()
        self._counts.close()
        threads = self._places.threads()
        for thread in threads:
            thread.join(STOP_S / len(threads))
        self._places.cut_off_all()
        for thread in threads:
            thread.join(LAST_S / len(threads))
        self._counted.write()

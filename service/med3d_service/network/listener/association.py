"""One association from its request to its end, in the thread that calls it."""

import struct
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Protocol

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode

from med3d_service.network.listener import commands, negotiation, pdus
from med3d_service.network.listener.commands import Request
from med3d_service.network.listener.own_titles import OwnTitles
from med3d_service.network.listener.pdus import (
    ConnectionEndedError,
    Fragment,
    PduSocket,
    PduType,
    ProtocolError,
    fragments,
)
from med3d_service.studies.arrivals.arrivals import Arrival, InstanceRefused, Readable, Source, StoreFull
from med3d_service.studies.file_meta import file_head

log = structlog.get_logger()

SUCCESS, OUT_OF_RESOURCES, PROCESSING_FAILURE, UNKNOWN_OPERATION = 0x0000, 0xA700, 0x0110, 0x0211
CLASS_NOT_SUPPORTED, MISMATCH, CANNOT_UNDERSTAND = 0x0122, 0xA900, 0xC000
STATUS_OF_REFUSAL: Mapping[str, int] = {
    "not_dicom": CANNOT_UNDERSTAND,
    "missing_uids": MISMATCH,
    "invalid_uid": MISMATCH,
    "unsupported_sop_class": CLASS_NOT_SUPPORTED,
    "unsupported_transfer_syntax": CLASS_NOT_SUPPORTED,
    "instance_too_large": CANNOT_UNDERSTAND,
}
PERMANENT, TRANSIENT = 1, 2
BY_USER, BY_PRESENTATION = 1, 3
CALLER_UNKNOWN, CALLED_UNKNOWN, LOCAL_LIMIT = 3, 7, 2
REPORT_BYTES = 1024 * 1024


class ReceivesInstances(Protocol):
    """``Arrivals``, or a test's stand-in."""

    def receive_instance(self, stream: Readable, source: Source) -> Arrival:
        """Take one DICOM file. Raises InstanceRefused, StoreFull."""
        ...


class TakesReports(Protocol):
    """``results.delivery.commitment.Commitments``, or a test's stand-in."""

    def report(self, calling_ae_title: str, event_type: int, report: Dataset) -> int:
        """Take a report; the DIMSE status that answers it."""
        ...


class DataSetStream:
    """The data set of one C-STORE as a DICOM file, read from the network as it is asked for."""

    def __init__(self, head: bytes, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._held = bytearray(head)

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, less only at the end. Raises ConnectionEndedError, ProtocolError."""
        while len(self._held) < size and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def drain(self) -> None:
        """Take what is left, and forget it."""
        self._held.clear()
        for _ in self._pieces:
            pass


class Association:
    """Serves one peer. ``run`` returns when it is over, whatever the peer did."""

    def __init__(
        self,
        connection: PduSocket,
        address: str,
        titles: OwnTitles,
        arrivals: ReceivesInstances,
        reports: TakesReports,
        stopping: Callable[[], bool],
        opened: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._address = address
        self._titles = titles
        self._arrivals = arrivals
        self._reports = reports
        self._stopping, self._opened = stopping, opened
        self._source = Source("dimse", "")
        self._contexts: Mapping[int, tuple[str, str]] = {}
        self._incoming: Iterator[Fragment] = iter(())
        self.instances = 0
        self.because = ""
        """Why it was rejected, where it was."""
        self.study_uids: set[str] = set()

    @property
    def calling_ae_title(self) -> str:
        """Who opened it."""
        return self._source.peer

    @property
    def site(self) -> str:
        """Whose the studies are that it brings."""
        return self._source.site

    def run(self) -> str:
        """Serve until the end, and say in a word how it ended."""
        try:
            if not self._open():
                return "rejected"
            self._incoming = self._fragments()
            while (request := self._next_request()) is not None:
                self._answer(*request)
                if self._stopping():
                    self._connection.send_last(pdus.abort())
                    return "stopped"
        except ConnectionEndedError:
            return "lost"
        except ProtocolError as error:
            log.info("association_not_understood", because=str(error), address=self._address)
            self._connection.send_last(pdus.abort(reason=2))
            return "aborted"
        self._connection.send_last(pdus.release_reply())
        return "released"

    def _open(self) -> bool:
        kind, body = self._connection.receive()
        if kind != PduType.ASSOCIATE_RQ:
            raise ProtocolError("not an association request")
        asked = negotiation.read_request(struct.pack(">BxI", kind, len(body)) + body)
        title = None if "called" in asked.malformed else self._titles.called(asked.called_ae_title)
        site = "" if title is None else title.site
        self._source = Source("dimse", site, asked.calling_ae_title, self._address, asked.called_ae_title)
        if title is None:
            return self._reject("called_unknown", CALLED_UNKNOWN)
        if "calling" in asked.malformed or not title.allowed.admits(asked.calling_ae_title, self._address):
            return self._reject("caller_unknown", CALLER_UNKNOWN)
        agreed = negotiation.agree(asked)
        self._contexts = agreed.contexts
        self._opened()
        self._connection.send(agreed.acceptance)
        return True

    def _reject(self, because: str, reason: int) -> bool:
        self.because = because
        log.warning("association_rejected", reason=because, address=self._address, ae_title=self._source.peer)
        self._connection.send_last(pdus.reject(PERMANENT, BY_USER, reason))
        return False

    def _fragments(self) -> Iterator[Fragment]:
        """Return all fragments up to the release."""
        while True:
            kind, body = self._connection.receive()
            if kind == PduType.RELEASE_RQ:
                return
            if kind == PduType.ABORT:
                raise ConnectionEndedError
            if kind != PduType.DATA:
                raise ProtocolError("not a PDU of an open association")
            yield from fragments(body)

    def _next_request(self) -> tuple[int, Request] | None:
        """Return context id and the next command set; None at the release."""
        command = bytearray()
        for fragment in self._incoming:
            if not fragment.is_command or fragment.context_id not in self._contexts:
                raise ProtocolError("a command was due")
            command += fragment.data
            if len(command) > commands.LONGEST_BYTES:
                raise ProtocolError("no command set")
            if fragment.is_last:
                return fragment.context_id, commands.read_request(bytes(command))
        if command:
            raise ProtocolError("released in the middle of a command")
        return None

    def _data_set(self, context_id: int) -> Iterator[memoryview]:
        """Return the pieces of the data set that follows a command."""
        for fragment in self._incoming:
            if fragment.is_command or fragment.context_id != context_id:
                raise ProtocolError("a data set was due")
            yield fragment.data
            if fragment.is_last:
                return
        raise ProtocolError("released in the middle of a data set")

    def _answer(self, context_id: int, request: Request) -> None:
        if request.field == commands.C_CANCEL_RQ:
            return  # of what was answered long ago
        if request.field == commands.C_STORE_RQ and request.has_data_set:
            status = self._store(context_id, request)
        elif request.field == commands.N_EVENT_REPORT_RQ and request.has_data_set:
            status = self._report(context_id, request)
        else:
            if request.has_data_set:
                for _ in self._data_set(context_id):
                    pass
            status = SUCCESS if request.field == commands.C_ECHO_RQ else UNKNOWN_OPERATION
        self._connection.send(pdus.command_pdu(context_id, commands.response(request, status)))

    def _store(self, context_id: int, request: Request) -> int:
        _, transfer_syntax = self._contexts[context_id]
        head = file_head(request.sop_class_uid, request.sop_instance_uid, transfer_syntax)
        stream = DataSetStream(head, self._data_set(context_id))
        try:
            arrival = self._arrivals.receive_instance(stream, self._source)
        except InstanceRefused as refused:
            status = STATUS_OF_REFUSAL[refused.code]
            log.info("instance_refused", code=refused.code)
        except StoreFull:
            status = OUT_OF_RESOURCES
            log.warning("store_full")
        except (ConnectionEndedError, ProtocolError):
            raise
        except Exception:  # the edge: the peer keeps the instance and sends it again
            status = PROCESSING_FAILURE
            log.exception("instance_not_stored")
        else:
            status = SUCCESS
            self.instances += 1
            self.study_uids |= {arrival.study_uid} - {""}
        stream.drain()
        return status

    def _report(self, context_id: int, request: Request) -> int:
        """Take what a peer says of objects that it was asked to keep."""
        received = bytearray()
        for piece in self._data_set(context_id):
            received += piece
            if len(received) > REPORT_BYTES:
                raise ProtocolError("a report is too long")
        report = _read_report(bytes(received), UID(self._contexts[context_id][1]))
        if report is None:
            log.info("report_unreadable", address=self._address)
            return PROCESSING_FAILURE
        try:
            return self._reports.report(self.calling_ae_title, request.event_type, report)
        except Exception:  # the edge: the peer reports again, or the object is sent again
            log.exception("report_not_taken")
            return PROCESSING_FAILURE


def _read_report(data: bytes, syntax: UID) -> Dataset | None:
    """Return the data set of an event report, every value of it; None where it is none."""
    try:
        report = decode(BytesIO(data), syntax.is_implicit_VR, syntax.is_little_endian)
        for _ in report.iterall():  # values are converted only when they are asked for
            pass
    except Exception:  # noqa: BLE001 - the edge: a codec raises anything on garbage
        return None
    return report

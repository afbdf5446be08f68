"""ORU^R01 to a system that takes HL7 v2 by MLLP: a connection for each message, taken when it is acknowledged."""

import socket
from dataclasses import dataclass

from med3d_service.network.hl7.frames import FrameError, Frames
from med3d_service.results.delivery.receivers import MllpReceiver
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError
from med3d_service.results.reports.hl7_text import PLACES, addressed

ACCEPTED = frozenset({"AA", "CA"})
PASSING = {"AE": frozenset({"", "204", "205", "206", "207"}), "AR": frozenset({"206", "207"})}
"""Error conditions (table 0357) that pass: what is not known there yet, what is in use, a fault of theirs."""
LONGEST_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True)
class Acknowledgment:
    """What of an acknowledgment counts. condition: of table 0357, empty where none is told."""

    code: str
    control_id: str
    condition: str


class MllpSender:
    """Sends to one receiver, over TLS where it is configured so."""

    def __init__(self, receiver: MllpReceiver) -> None:
        self._receiver = receiver
        self._places = {name: str(getattr(receiver, name)) for name in PLACES.values()}

    def send(self, outgoing: Outgoing) -> None:
        """Send the message; the receiver has it when it has acknowledged this very one."""
        message, control_id = addressed(outgoing.content, self._places, self._receiver.character_set)
        try:
            answer = self._exchange(message)
        except (OSError, FrameError) as error:
            raise NotDeliveredError(f"peer_away:{type(error).__name__}") from error
        if answer is None:
            raise NotDeliveredError("peer_away:no_answer")
        _judge(read_acknowledgment(answer), control_id)

    def close(self) -> None:
        """Do nothing: nothing stays open."""

    def _exchange(self, message: bytes) -> bytes | None:
        one = self._receiver
        with socket.create_connection((one.host, one.port), one.timeout_s) as plain:
            if one.tls is None:
                return self._talk(plain, message)
            with one.tls.context().wrap_socket(plain, server_hostname=one.host) as secured:
                return self._talk(secured, message)

    def _talk(self, connection: socket.socket, message: bytes) -> bytes | None:
        frames = Frames(connection, LONGEST_ANSWER_BYTES, self._receiver.timeout_s)
        frames.send(message)
        return frames.receive(self._receiver.timeout_s)


def read_acknowledgment(message: bytes) -> Acknowledgment:
    """Read MSA and ERR. Raises NotDeliveredError where it is no acknowledgment."""
    lines = message.decode("latin-1").replace("\n", "\r").split("\r")
    if not lines[0].startswith("MSH") or len(lines[0]) < 5:
        raise NotDeliveredError("peer_failed:no_acknowledgment")
    bar, component = lines[0][3], lines[0][4]
    found = {line[:3]: line.split(bar) for line in reversed(lines) if line[:3] in {"MSA", "ERR"}}
    if "MSA" not in found:
        raise NotDeliveredError("peer_failed:no_acknowledgment")
    msa, err = found["MSA"] + [""] * 7, found.get("ERR", []) + [""] * 4
    condition = (err[3] or msa[6]).split(component)[0].strip()
    return Acknowledgment(msa[1].strip(), msa[2].strip(), condition if condition.isdigit() else "")


def _judge(answer: Acknowledgment, control_id: str) -> None:
    if answer.control_id != control_id:
        raise NotDeliveredError("peer_failed:another_acknowledgment")
    if answer.code in ACCEPTED:
        return
    told = "_".join(part for part in (answer.code, answer.condition[:3]) if part)
    passing = PASSING.get(answer.code.replace("C", "A", 1))
    if passing is None:
        raise NotDeliveredError("peer_failed:no_acknowledgment")
    if answer.condition in passing:
        raise NotDeliveredError(f"peer_failed:{told}")
    raise RefusedByPeerError(f"refused:{told}")

"""C-STORE to a configured peer, one association per object: answers are few, and a fresh one is never half dead."""

import io

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association

from med3d_service.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError
from med3d_service.peers.association import associate
from med3d_service.peers.configuration import DimsePeer

SUCCESS = 0x0000
WARNINGS = frozenset({0xB000, 0xB006, 0xB007})  # PS3.4 B.2.3: stored, with elements coerced or left out
FINAL = (0xA900, 0xC000)  # the data set does not match its class, or cannot be understood
FINAL_CODES = frozenset({0x0122, 0x0117, 0x0106})  # class not supported, invalid instance, invalid attribute value


class DimseSender:
    """Sends objects as a C-STORE SCU, over TLS where the peer is configured so."""

    def __init__(self, peer: DimsePeer) -> None:
        self._peer = peer

    def send(self, outgoing: Outgoing) -> None:
        """Send the object; the peer has it when its answer is success or a warning."""
        dataset = dcmread(io.BytesIO(outgoing.content))
        association = self._associate(dataset)
        try:
            answer = association.send_c_store(dataset)
        except (ValueError, RuntimeError, AttributeError) as error:  # the peer went away between two calls
            raise NotDeliveredError(f"peer_away:{type(error).__name__}") from error
        finally:
            if association.is_established:
                association.release()
        self._judge(answer)

    def close(self) -> None:
        """Nothing stays open."""

    def _associate(self, dataset: Dataset) -> Association:
        context = build_context(dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = associate(self._peer, [context])
        if association.is_established:
            return association
        if association.is_rejected:
            raise NotDeliveredError("peer_rejected_association")
        if association.rejected_contexts and not association.accepted_contexts:
            raise RefusedByPeerError("refused:sop_class_not_accepted")
        raise NotDeliveredError("peer_away:no_association")

    @staticmethod
    def _judge(answer: Dataset) -> None:
        status = answer.get("Status")
        if status is None:
            raise NotDeliveredError("peer_away:no_answer")
        if status == SUCCESS or status in WARNINGS:
            return
        code = f"0x{int(status):04X}"
        if status in FINAL_CODES or any(first <= status < first + 0x100 for first in FINAL[:1]) or status >= FINAL[1]:
            raise RefusedByPeerError(f"refused:{code}")
        raise NotDeliveredError(f"peer_failed:{code}")

"""C-STORE to a configured peer, one association per object: answers are few, and a fresh one is never half dead.

Where the peer is to promise that it keeps the object, the same association asks for storage commitment (PS3.4 annex J);
the promise comes later, to the listener (delivery.commitment).
"""

import io

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance  # type: ignore[attr-defined]

from med3d_service.network.peers.association import associated
from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError

SUCCESS = 0x0000
WARNINGS = frozenset({0xB000, 0xB006, 0xB007})  # PS3.4 B.2.3: stored, with elements coerced or left out
FINAL = (0xA900, 0xC000)  # the data set does not match its class, or cannot be understood
FINAL_CODES = frozenset({0x0122, 0x0117, 0x0106})  # class not supported, invalid instance, invalid attribute value


REQUEST_COMMITMENT = 1  # PS3.4 J.3.2, action type ID


class DimseSender:
    """Sends objects as a C-STORE SCU, over TLS where the peer is configured so, and may ask for their commitment."""

    def __init__(self, peer: DimsePeer, *, commitment: bool = False) -> None:
        self._peer = peer
        self._commitment = commitment

    def send(self, outgoing: Outgoing) -> None:
        """Send the object; the peer has it when its answer is success or a warning, and then is asked to keep it."""
        dataset = dcmread(io.BytesIO(outgoing.content))
        with associated(self._peer, contexts_for(dataset, commitment=self._commitment)) as association:
            _check_accepted(association, dataset.file_meta.MediaStorageSOPClassUID)
            try:
                self._judge(association.send_c_store(_as_accepted(dataset, association)))
                if self._commitment:
                    self._ask_to_keep(association, dataset, outgoing.transaction_uid)
            except (ValueError, RuntimeError, AttributeError) as error:  # the peer went away between two calls
                raise NotDeliveredError(f"peer_away:{type(error).__name__}") from error

    def close(self) -> None:
        """Do nothing: nothing stays open."""

    @staticmethod
    def _ask_to_keep(association: Association, dataset: Dataset, transaction_uid: str) -> None:
        if all(one.abstract_syntax != StorageCommitmentPushModel for one in association.accepted_contexts):
            raise RefusedByPeerError("refused:storage_commitment_not_accepted")
        kept = Dataset()
        kept.ReferencedSOPClassUID, kept.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        asked = Dataset()
        asked.TransactionUID, asked.ReferencedSOPSequence = transaction_uid, [kept]
        answer, _ = association.send_n_action(
            asked, REQUEST_COMMITMENT, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        status = _status(answer)
        if status != SUCCESS:
            raise NotDeliveredError(f"peer_failed:commitment_0x{status:04X}")

    @staticmethod
    def _judge(answer: Dataset) -> None:
        status = _status(answer)
        if status == SUCCESS or status in WARNINGS:
            return
        code = f"0x{status:04X}"
        if status in FINAL_CODES or any(first <= status < first + 0x100 for first in FINAL[:1]) or status >= FINAL[1]:
            raise RefusedByPeerError(f"refused:{code}")
        raise NotDeliveredError(f"peer_failed:{code}")


def contexts_for(dataset: Dataset, *, commitment: bool) -> list[PresentationContext]:
    """Return what is asked for to send an object, and where it is wanted to have it committed."""
    sop_class, syntax = dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.TransferSyntaxUID
    wanted = [build_context(sop_class, syntax)]
    if syntax.is_compressed:  # for peers that take pictures uncompressed alone
        wanted.append(build_context(sop_class, ExplicitVRLittleEndian))
    if commitment:
        wanted.append(build_context(StorageCommitmentPushModel))
    return wanted


def _check_accepted(association: Association, sop_class: str) -> None:
    """Raise NotDeliveredError where the peer does not answer, RefusedByPeerError where it takes no such objects."""
    if association.is_rejected:
        raise NotDeliveredError("peer_rejected_association")
    if not association.is_established and not association.rejected_contexts:
        raise NotDeliveredError("peer_away:no_association")
    accepted = any(one.abstract_syntax == sop_class for one in association.accepted_contexts)
    if not (association.is_established and accepted):
        raise RefusedByPeerError("refused:sop_class_not_accepted")


def _as_accepted(dataset: Dataset, association: Association) -> Dataset:
    """Return the object as it was made; decompressed where the peer does not take it so."""
    made = dataset.file_meta.TransferSyntaxUID
    accepted = {
        one.transfer_syntax[0] for one in association.accepted_contexts if one.abstract_syntax == dataset.SOPClassUID
    }
    if made not in accepted:
        dataset.decompress(generate_instance_uid=False)  # the same object, written otherwise
    return dataset


def _status(answer: Dataset) -> int:
    """Return the status of a response; the library makes an empty one where the peer gave none."""
    if "Status" not in answer:
        raise NotDeliveredError("peer_away:no_answer")
    return int(answer.Status)

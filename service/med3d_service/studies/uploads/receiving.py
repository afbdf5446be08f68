"""One upload on its way to the store: files are told apart, digested and sealed into one container, as they come."""

import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from med3d_contract.identity import named_digest, study_digest
from med3d_contract.sent_files.archives import FileSink
from med3d_contract.sent_files.content import HEAD_BYTES, Content, dataset_offset, sniff
from med3d_contract.sent_files.unread_files import Unread, of_nothing_read, why_unread
from med3d_contract.sent_files.volume_names import kept_names, tells_t1w_more_surely
from med3d_service.problems import ServiceError
from med3d_service.storage.sealed import SealedWriter
from med3d_service.studies.identity import Digester, InflatedDigest, Inflater, TailDigest
from med3d_service.studies.original_names import original_name
from med3d_service.studies.uploads.limits import Meter


@dataclass(frozen=True)
class ReceivedInstance:
    """One image file: its identity, and where its bytes lie in the container.

    kind: dicom, or nifti for a volume in one file (NIfTI, MGH). name: of one of several volumes what is kept of its
    name; while the upload comes the sender's own.
    """

    digest: str
    kind: str
    offset_bytes: int
    size_bytes: int
    name: str = ""


@dataclass(frozen=True)
class ReceivedStudy:
    """A whole upload, sealed in ``container`` on the local disk, under the name of ``upload_id``.

    unread: what is told of it where none of its files is an image.
    """

    upload_id: str
    digest: str
    instances: tuple[ReceivedInstance, ...]
    files: int
    skipped_files: int
    unread: Unread | None
    container: Path
    container_sha256: str


class StudyFiles:
    """The files of one upload. Non-images are skipped and counted; they are part of no study."""

    def __init__(self, spool_dir: Path, key: bytes, site: str, meter: Meter) -> None:
        self.meter = meter
        self._upload_id = str(uuid.uuid4())
        name = original_name(self._upload_id, site)
        self.writer = SealedWriter(spool_dir / f"{secrets.token_hex(16)}.upload", key, name)
        self._instances: dict[str, ReceivedInstance] = {}
        self._skipped: list[str] = []
        self._unread: set[Unread] = set()
        self._files = 0

    def take(self, instance: ReceivedInstance) -> None:
        """Add an image; the same one twice is one."""
        self._files += 1
        known = self._instances.setdefault(instance.digest, instance)
        if known.name != instance.name and tells_t1w_more_surely(instance.name, than=known.name):
            self._instances[instance.digest] = replace(known, name=instance.name)

    def open_file(self, name: str) -> "JudgedFile":
        """Begin a file of an archive. What it holds may be no archive: ServiceError("archive_nested")."""
        return JudgedFile(partial(self._begin_member, name))

    def skip(self, digest: str, unread: Unread) -> None:
        """Count a file that is no image."""
        self._files += 1
        self._skipped.append(digest)
        self._unread.add(unread)

    def finish(self) -> ReceivedStudy:
        """Seal the container. Raises ServiceError("empty_upload") where no file came at all."""
        if not self._files:
            raise ServiceError("empty_upload")
        self.writer.close()
        instances = _with_kept_names(self._instances.values())
        digests = [named_digest(instance.digest, instance.name) for instance in instances]
        return ReceivedStudy(
            upload_id=self._upload_id,
            # An upload without a single image is a study, too: it will be refused, and sent again it is the same.
            digest=study_digest(digests or self._skipped),
            instances=instances,
            files=self._files,
            skipped_files=len(self._skipped),
            unread=None if instances else of_nothing_read(sorted(self._unread, key=repr)),
            container=self.writer.path,
            container_sha256=self.writer.sha256,
        )

    def discard(self) -> None:
        """Leave nothing behind."""
        self.writer.discard()

    def _begin_member(self, name: str, content: Content, head: bytes) -> FileSink:
        if content.is_archive or content is Content.OTHER_ARCHIVE:
            raise ServiceError("archive_nested")
        return begin_image(self, name, content, head)


def _with_kept_names(instances: Iterable[ReceivedInstance]) -> tuple[ReceivedInstance, ...]:
    """Put in place of the sender's names what may be kept of them: something only where there are several volumes."""
    found = list(instances)
    volumes = [instance for instance in found if instance.kind == "nifti"]
    kept = kept_names([volume.name for volume in volumes]) if len(volumes) > 1 else [""] * len(volumes)
    names = {volume.digest: name for volume, name in zip(volumes, kept, strict=True)}
    return tuple(replace(instance, name=names.get(instance.digest, "")) for instance in found)


class JudgedFile:
    """A file that is held back until its first HEAD_BYTES tell what it is, and then goes on to where such belong.

    ``begin`` opens that place and takes the head.
    """

    def __init__(self, begin: Callable[[Content, bytes], FileSink]) -> None:
        self._begin = begin
        self._head = bytearray()
        self._sink: FileSink | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing of it has come yet."""
        return self._sink is None and not self._head

    def write(self, data: bytes) -> None:
        """Take the next piece. Raises what ``begin`` and its place raise."""
        if self._sink is not None:
            self._sink.write(data)
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            self._sink = self._judge()

    def close(self) -> None:
        """End the file."""
        (self._sink or self._judge()).close()

    def _judge(self) -> FileSink:
        head = bytes(self._head)
        self._head.clear()
        return self._begin(sniff(head), head)


def begin_image(files: StudyFiles, name: str, content: Content, head: bytes) -> "ImageFile":
    """Begin a file that is no archive with its first bytes; one that is no image either is digested and skipped."""
    inflater = None
    kind: str | Unread = why_unread(name, head)
    digester: Digester = TailDigest()
    if content is Content.DICOM_GZ:  # what it holds is kept, so that it is the same instance as unpacked
        inflater = Inflater(files.meter)
        head = b"".join(inflater.pieces(head))
    if content in {Content.DICOM, Content.DICOM_GZ}:
        kind, digester = "dicom", TailDigest(dataset_offset(head) or 0)
    elif content in {Content.NIFTI, Content.MGH}:
        kind = "nifti"
    elif content in {Content.NIFTI_GZ, Content.MGH_GZ}:
        kind, digester = "nifti", InflatedDigest(files.meter)
    image = ImageFile(files, kind, name if kind == "nifti" else "", digester, inflater)
    image.keep(head)
    return image


class ImageFile:
    """One file on its way into ``StudyFiles``. ``kind``, ``name``: see ReceivedInstance; or why it is no image."""

    def __init__(
        self, files: StudyFiles, kind: str | Unread, name: str, digester: Digester, inflater: Inflater | None
    ) -> None:
        self._files = files
        self._kind = kind
        self._name = name
        self._digester = digester
        self._inflater = inflater
        self._offset_bytes = files.writer.size_bytes

    def write(self, data: bytes) -> None:
        """Take the next piece as it was sent."""
        for piece in self._inflater.pieces(data) if self._inflater is not None else (data,):
            self.keep(piece)

    def keep(self, data: bytes) -> None:
        """Take the next piece as it is kept."""
        self._digester.update(data)
        if isinstance(self._kind, str):
            self._files.writer.write(data)

    def close(self) -> None:
        """End the file."""
        if self._inflater is not None:
            self._inflater.finish()
        digest = self._digester.finish()
        if isinstance(self._kind, Unread):
            self._files.skip(digest, self._kind)
            return
        size_bytes = self._files.writer.size_bytes - self._offset_bytes
        self._files.take(ReceivedInstance(digest, self._kind, self._offset_bytes, size_bytes, self._name))

"""The files of a form, each judged once: an archive is spooled and unpacked at its end, an image goes on at once."""

import io
import secrets
from functools import partial
from pathlib import Path

from med3d_contract.sent_files.archives import FileSink, is_named_like_archive, unpack
from med3d_contract.sent_files.content import Content
from med3d_contract.sent_files.unread_files import NO_IMAGES, Unread, of_nothing_read, why_unread
from med3d_service.problems import ServiceError
from med3d_service.storage.sealed import ObjectName, SealedReader, SealedWriter
from med3d_service.studies.uploads.limits import Meter, archive_faults_told
from med3d_service.studies.uploads.receiving import JudgedFile, ReceivedStudy, StudyFiles, begin_image


class _SpooledArchive:
    """An archive on its way: it waits on the disk, sealed, and is unpacked at its end."""

    def __init__(self, spool_dir: Path, key: bytes, content: Content, files: StudyFiles) -> None:
        self._key = key
        self._content = content
        self._files = files
        path = spool_dir / f"{secrets.token_hex(16)}.archive"
        self._name = ObjectName("archive", path.name, site="")
        self._spooled = SealedWriter(path, key, self._name)
        self.write = self._spooled.write
        self.discard = self._spooled.discard

    def close(self) -> None:
        self._spooled.close()
        sealed = SealedReader(self._spooled.path, self._key, self._name, sha256=None)
        with io.BufferedReader(sealed, 1 << 16) as archive, archive_faults_told():
            unpack(archive, self._spooled.size_bytes, self._content, self._files)
        self.discard()


class FormFiles:
    """The ``files`` parts of one form. ``finish`` refuses a form of which nothing was recognised."""

    def __init__(self, spool_dir: Path, key: bytes, site: str, meter: Meter) -> None:
        self._spool_dir = spool_dir
        self._key = key
        self._files = StudyFiles(spool_dir, key, site, meter)
        self._archive: _SpooledArchive | None = None
        self._recognised = False  # a part that is DICOM, NIfTI or an archive
        self._unread: list[Unread] = []
        self._only_named_like_archive = False

    def open_part(self, file_name: str) -> JudgedFile:
        """Begin a part. Raises ServiceError("too_many_files")."""
        self._files.meter.count_file()
        return JudgedFile(partial(self._begin, file_name))

    def finish(self) -> ReceivedStudy:
        """Seal the container.

        Raises ServiceError: no_images, unsupported_format, nifti_unreadable, not_an_archive, empty_upload.
        """
        if self._unread and not self._recognised:
            raise self._of_nothing_read()
        return self._files.finish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._files.discard()
        if self._archive is not None:
            self._archive.discard()

    def _of_nothing_read(self) -> ServiceError:
        unread = of_nothing_read(self._unread)
        if self._only_named_like_archive and unread == NO_IMAGES:
            return ServiceError("not_an_archive")
        return ServiceError(unread.code, unread.seen, remedy=unread.instead)

    def _begin(self, name: str, content: Content, head: bytes) -> FileSink:
        if content in {Content.OTHER, Content.OTHER_ARCHIVE}:
            self._unread.append(why_unread(name, head))
            self._only_named_like_archive |= content is Content.OTHER and is_named_like_archive(name)
        else:
            self._recognised = True
        if not content.is_archive:
            return begin_image(self._files, name, content, head)
        self._archive = _SpooledArchive(self._spool_dir, self._key, content, self._files)
        self._archive.write(head)
        return self._archive

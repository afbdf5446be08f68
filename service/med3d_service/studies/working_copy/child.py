"""The sandboxed child: reads one job from stdin, writes the working copy, reports on stdout, and is gone.

It is the only process that parses what came from outside, once per study, under limits of the operating system. It is
started ahead of time and waits, so that a study does not wait for Python to start.
"""

import ctypes
import errno
import hashlib
import io
import json
import os
import resource
import signal
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from med3d_confined import leave_no_core, refuse_calls, shut_in
from med3d_contract.ages import AgeReading, agreed_age, read_age, storable_age
from med3d_contract.scan_dates import worth_keeping
from med3d_contract.sent_files.content import HEAD_BYTES, Content, sniff
from med3d_service.storage.sealed import SealBrokenError, SealedReader
from med3d_service.studies.original_names import original_name
from med3d_service.studies.working_copy.deidentify import Deidentifier, Identity, NotAnImageError, UnreadableError
from med3d_service.studies.working_copy.messages import (
    IDENTIFYING,
    SCAN_DATE,
    STUDY_LEVEL,
    Finding,
    Job,
    Limits,
    NamedPatient,
    Report,
)
from med3d_service.studies.working_copy.mgh import clean_mgh
from med3d_service.studies.working_copy.nifti import UnreadableNiftiError, clean_nifti
from med3d_service.studies.working_copy.pixels.canonical import digest_of_study
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms

_DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
MOST_PATIENTS = 20
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Confine the process, then do one job."""
    confine(Limits.model_validate_json(sys.argv[1]))
    missing = refuse_calls()
    line = sys.stdin.readline()
    if not line:
        return 0  # the courier ended and there is no job
    job = Job.model_validate(json.loads(line))
    missing += _shut_in_with(job)
    try:
        report = copy_study(job)
    except (FileNotFoundError, SealBrokenError):
        report = Report(finding=Finding.ORIGINAL_DAMAGED)
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        report = Report(finding=Finding.DISK_FAULT)
    sys.stdout.write(report.model_copy(update={"unconfined": missing}).model_dump_json())
    sys.stdout.flush()
    return 0


def confine(limits: Limits) -> None:
    """Bind the process to its limits, and to the life of the courier."""
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    leave_no_core()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _shut_in_with(job: Job) -> tuple[str, ...]:
    """Leave this process the originals of its study to read, and one file to write."""
    target = Path(job.target)
    with suppress(OSError):  # a full disk is met, and told, by who writes
        target.touch(0o600)
    return shut_in([Path(container.path) for container in job.containers], [target])


def copy_study(job: Job) -> Report:
    """Write the de-identified tar at ``job.target``: 00001.dcm and so on, volume.nii.gz or volume.mgz.

    Several volumes have a number before what is kept of their names, as in 00001_sub-1.x_t1w.nii.gz.
    """
    copier = _Copier(job)
    with tarfile.open(job.target, "w") as tar:
        for number, members in groupby(job.members, attrgetter("container")):
            container = job.containers[number]
            name = original_name(container.upload_id, container.site)
            key = bytes.fromhex(container.key.get_secret_value())
            with SealedReader.by_file_key(Path(container.path), key, name, container.sha256) as sealed:
                buffered = io.BufferedReader(sealed, 1 << 20)
                for member in members:
                    buffered.seek(member.offset_bytes)
                    data = buffered.read(member.size_bytes)
                    if member.kind == "nifti":
                        copier.copy_volume(data, member.name, tar)
                    else:
                        copier.copy_dicom(data, tar)
    report = copier.report()
    if report.finding is not Finding.COPIED:
        Path(job.target).write_bytes(b"")  # the courier removes it: a child that is shut in may not
    return report


class _Copier:
    def __init__(self, job: Job) -> None:
        self._pseudonyms = Pseudonyms(bytes.fromhex(job.uid_key.get_secret_value()))
        self._deidentifier = Deidentifier(self._pseudonyms, job.character_set)
        self._copied = 0
        self._skipped = 0
        self._unreadable = 0
        self._identity: Identity | None = None
        self._identities: set[Identity] = set()
        self._volumes: set[str] = set()
        self._same_patients = [{one.casefold() for one in pair} for pair in job.same_patients]

    def copy_dicom(self, data: bytes, tar: tarfile.TarFile) -> None:
        try:
            cleaned, identity = self._deidentifier.copy(data)
        except NotAnImageError:
            self._skipped += 1
            return
        except UnreadableError:
            self._unreadable += 1
            return
        self._identities.add(identity)
        if self._identity is None or (identity.birth_date and not self._identity.birth_date):
            self._identity = identity
        self._copied += 1
        _add(tar, f"{self._copied:05d}.dcm", cleaned)

    def copy_volume(self, data: bytes, kept_name: str, tar: tarfile.TarFile) -> None:
        cleaned = io.BytesIO()
        mgh = sniff(data[:HEAD_BYTES]) in {Content.MGH, Content.MGH_GZ}
        clean = clean_mgh if mgh else clean_nifti
        try:
            clean(io.BytesIO(data), cleaned, compressed=data.startswith(b"\x1f\x8b"))
        except UnreadableNiftiError:
            self._unreadable += 1
            return
        self._copied += 1
        self._volumes.add(hashlib.sha256(cleaned.getvalue()).hexdigest())
        name = f"{self._copied:05d}{kept_name}" if kept_name else "volume"
        _add(tar, f"{name}.mgz" if mgh else f"{name}.nii.gz", cleaned.getvalue())

    def report(self) -> Report:
        skipped = self._skipped + self._unreadable
        if not self._copied:
            finding = Finding.UNREADABLE_FILE if self._unreadable else Finding.NO_IMAGES
            return Report(finding=finding, skipped=skipped)
        if _are_several(self._identities, self._same_patients):
            named = {"patients": _named(self._identities), **self._identifying()}
            return Report(finding=Finding.SEVERAL_PATIENTS, skipped=skipped, **named)
        return Report(
            finding=Finding.COPIED,
            copied=self._copied,
            skipped=skipped,
            uids=self._pseudonyms.uids,
            sex=_agreed_sex(self._identities),
            series_descriptions=_descriptions(self._identities),
            study_attributes=self._study_attributes(),
            pixels=self._pixels(),
            is_compressed=self._deidentifier.is_compressed,
            is_under_several_ids=len({one.patient_id.casefold() for one in self._identities if one.patient_id}) > 1,
            deidentified=any(one.identity_removed.upper() == "YES" for one in self._identities),
            **self._ages(),
            **self._identifying(),
        )

    def _pixels(self) -> str:
        """Digest what the images show, for a patient corrected at the PACS; volumes alone do not tell whose."""
        shown = self._deidentifier.shown
        return digest_of_study(shown | self._volumes) if shown else ""

    def _ages(self) -> dict[str, Any]:
        """Read the age of every series, which are of several studies perhaps, and what all of them agree on."""
        by_series: dict[str, list[AgeReading]] = defaultdict(list)
        for one in self._identities:
            by_series[one.series_uid].append(
                read_age(
                    birth_date=one.birth_date,
                    study_date=one.study_date,
                    patient_age=one.patient_age,
                    beside=one.dates_beside,
                )
            )
        ages = {uid: agreed_age(readings) for uid, readings in by_series.items()}
        stored = {self._pseudonyms.uid(uid): storable_age(age) for uid, age in ages.items() if uid}
        return {"age": storable_age(agreed_age(ages.values())), "series_ages": stored}

    def _study_attributes(self) -> dict[str, str]:
        """Return what all images agree on; an age or a description that differs is no study's."""
        told = {name: {getattr(one, name) for one in self._identities} - {""} for name in STUDY_LEVEL}
        return {name: values.pop() for name, values in told.items() if len(values) == 1}

    def _identifying(self) -> dict[str, str]:
        if self._identity is None:
            return {}
        told = {name: getattr(self._identity, name) for name in IDENTIFYING if name != SCAN_DATE}
        return told | {SCAN_DATE: worth_keeping(self._identity.study_date, self._identity.dates_beside)}


def _descriptions(identities: Iterable[Identity]) -> dict[str, str]:
    """Return what the scanner calls each series, by number; none where a number has several names."""
    told: dict[str, set[str]] = defaultdict(set)
    for one in identities:
        if one.series_number.isdecimal() and one.series_description:
            told[str(int(one.series_number))].add(one.series_description)
    return {number: names.pop() for number, names in sorted(told.items()) if len(names) == 1}


def _agreed_sex(identities: Iterable[Identity]) -> str:
    """Return the sex that the images tell, empty where they contradict each other."""
    told = {one.sex.upper() for one in identities} & {"F", "M"}
    return told.pop() if len(told) == 1 else ""


def _are_several(identities: set[Identity], same_patients: Iterable[set[str]]) -> bool:
    """Tell whether images are of more than one patient, as `med3d analyse` does (med3d_pipeline.study.patients).

    Their patient ids differ, or they are of several studies, or slices of one series, whose patients differ in sex or
    date of birth.
    """
    named = {one.patient_id.casefold() for one in identities if one.patient_id}
    if named and not named <= _all_of_one(min(named), same_patients):
        return True
    of_series = ({one for one in identities if one.series_uid == uid} for uid in {one.series_uid for one in identities})
    of_studies = identities if len({one.study_uid for one in identities}) > 1 else set()
    return any(_differ(together) for together in (of_studies, *of_series))


def _differ(identities: set[Identity]) -> bool:
    """Tell whether they are of different people by sex or date of birth."""
    sexes = {one.sex.upper() for one in identities} & {"F", "M"}
    born = {one.birth_date for one in identities if one.birth_date}
    return len(sexes) > 1 or len(born) > 1


def _all_of_one(patient_id: str, same_patients: Iterable[set[str]]) -> set[str]:
    """Return all ids of this patient: a message may have merged what another one had merged before."""
    ids, pairs = {patient_id}, list(same_patients)
    while near := [pair for pair in pairs if pair & ids and not pair <= ids]:
        ids = ids.union(*near)
    return ids


def _named(identities: set[Identity]) -> tuple[NamedPatient, ...]:
    """Return the patients that the images name, in a stable order; a few of them where a whole archive was sent."""
    told = {(one.patient_id, one.patient_name, one.birth_date) for one in identities}
    return tuple(
        NamedPatient(patient_id=patient_id, name=name, birth_date=born)
        for patient_id, name, born in sorted(told)[:MOST_PATIENTS]
    )


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o600
    tar.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())

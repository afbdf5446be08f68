"""Names in every character set, declared, undeclared or wrongly declared: read right, or seen to be damaged."""

import io
import struct

import pytest
from pydicom import dcmread
from sqlalchemy import update

from med3d_service.results.reports.dicom_objects import as_file, patient_and_study
from med3d_service.storage.arrival_tables import ArrivedInstanceRow
from med3d_service.studies.dicom_instances.instance_headers import read_headers
from med3d_service.studies.working_copy.deidentify import Deidentifier
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from med3d_service.studies.working_copy.written_text import read_text
from rig.service.arriving import saved, slices
from rig.service.facts import facts
from rig.service.ward import Ward

JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"  # PS3.5 H.3.1
HALF_WIDTH = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J"  # PS3.5 H.3.2
KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"  # I.2
CHINESE = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"  # K.2
GERMAN, RUSSIAN = "M\u00fcller^\u00c4nne", "\u0418\u0432\u0430\u043d\u043e\u0432^\u0418\u0432\u0430\u043d"
RIGHT = {
    "ISO_IR 100": (GERMAN.encode("latin-1"), GERMAN),
    "ISO_IR 144": (RUSSIAN.encode("iso8859_5"), RUSSIAN),
    "ISO_IR 192": ("M\u00fcller=\u5c71\u7530".encode(), "M\u00fcller=\u5c71\u7530"),
    "GB18030": ("Wang=\u738b^\u5c0f\u4e1c".encode("gb18030"), "Wang=\u738b^\u5c0f\u4e1c"),
    "GBK": ("\u8aa0".encode("gbk"), "\u8aa0"),  # its second byte is a backslash
    "\\ISO 2022 IR 87": (JAPANESE, "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046"),
    "ISO 2022 IR 13\\ISO 2022 IR 87": (
        HALF_WIDTH,
        "\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73=\u5c71\u7530^\u592a\u90ce",
    ),
    "\\ISO 2022 IR 149": (KOREAN, "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9"),
    "\\ISO 2022 IR 58": (CHINESE, "Zhang^XiaoDong=\u5f20^\u5c0f\u4e1c"),
    "ISO 2022 IR 100\\ISO 2022 IR 144": (b"\xc4nne=\x1b-L\xb8\xd2\xd0\xdd", "\u00c4nne=\u0418\u0432\u0430\u043d"),
    "ISO IR 100": (GERMAN.encode("latin-1"), GERMAN),
    "UTF-8": (GERMAN.encode(), GERMAN),
}
WRONG = [
    # stated, bytes, as it reads
    ("", GERMAN.encode(), GERMAN),
    ("ISO_IR 6", GERMAN.encode(), GERMAN),
    ("ISO_IR 100", GERMAN.encode(), GERMAN),
    ("", JAPANESE, RIGHT["\\ISO 2022 IR 87"][1]),
    ("", GERMAN.encode("latin-1"), "M\ufffdller^\ufffdnne"),
    ("ISO_IR 999", GERMAN.encode("latin-1"), "M\ufffdller^\ufffdnne"),
    ("", RUSSIAN.encode("cp1251"), "\ufffd" * 6 + "^" + "\ufffd" * 4),
    ("ISO_IR 192", GERMAN.encode("latin-1"), "M\ufffdller^\ufffdnne"),
    ("ISO_IR 101", "P\u00d3\u0141TORAK".encode("iso8859_2"), "P\u00d3\u0141TORAK"),
    ("ISO_IR 100", b"A\x1b[31mB", "A\ufffd[31mB"),
    ("ISO_IR 192", b"A\x1b$B;3", "A\ufffd$B;3"),
    ("ISO_IR 100", b"M\xfcller\x96Schmidt", "M\u00fcller\u2013Schmidt"),
    ("ISO_IR 144", b"\xb8\x96", "\u0418\ufffd"),
    ("\\ISO 2022 IR 87", b"\x1b$B;3E", "\u5c71\ufffd"),
]


@pytest.mark.parametrize(("stated", "raw", "name"), [(stated, *one) for stated, one in RIGHT.items()] + WRONG)
def test_a_name_reads_right_or_is_seen_to_be_damaged(stated, raw, name):
    assert read_text(raw, stated) == name
    image = image_of(stated, raw)
    _, identity = Deidentifier(Pseudonyms(b"k" * 32)).copy(image)
    assert identity.patient_name == name
    sent = patient_and_study(facts(patient=facts().patient.__class__("P-1", "", name, "", "")))
    sent.SOPClassUID, sent.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.3"
    assert str(dcmread(io.BytesIO(as_file(sent))).PatientName) == name


@pytest.mark.parametrize(("character_set", "codec"), [("ISO_IR 100", "latin-1"), ("ISO_IR 144", "iso8859_5")])
def test_images_that_state_none_are_read_as_the_settings_say(character_set, codec):
    name = GERMAN if codec == "latin-1" else RUSSIAN
    _, identity = Deidentifier(Pseudonyms(b"k" * 32), character_set).copy(image_of("", name.encode(codec)))
    assert identity.patient_name == name
    assert read_text(RIGHT["ISO_IR 144"][0], "ISO_IR 144", character_set) == RUSSIAN, "what is stated counts"


def test_undeclared_names_are_told_apart_though_nobody_can_read_them():
    first, second = (
        read_headers(image_of("", name.encode("latin-1"))).identity for name in ("M\u00fcller", "M\u00f6ller")
    )
    assert first != second


def image_of(stated, raw):
    """A file that states a character set and has these bytes for a name, whether they fit one another or not."""
    (image,) = slices(1, PatientName="PLACE", SpecificCharacterSet="ISO_IR 100")
    stated_as = element(b"\x08\x00\x05\x00CS", stated.encode()) if stated else b""
    file = saved(image).replace(element(b"\x08\x00\x05\x00CS", b"ISO_IR 100"), stated_as)
    return file.replace(element(b"\x10\x00\x10\x00PN", b"PLACE"), element(b"\x10\x00\x10\x00PN", raw))


def element(tag_and_vr, value):
    padded = value + b" " * (len(value) % 2)
    return tag_and_vr + struct.pack("<H", len(padded)) + padded


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path / "data", {"images_character_set": "ISO_IR 144"})
    yield made
    made.close()


def test_a_name_that_was_only_written_otherwise_corrects_nobody(ward):
    name = RIGHT["\\ISO 2022 IR 87"][1]
    ward.send(*slices(PatientName=name, SpecificCharacterSet=["", "ISO 2022 IR 87"]))
    anew = slices(PatientName=name, SpecificCharacterSet="ISO_IR 192")
    assert ward.send(*anew) == ["known"] * 4
    with ward.database.write() as session:
        session.execute(update(ArrivedInstanceRow).values(identity_index="of an earlier release"))
    assert ward.send(*slices(PatientName=name, SpecificCharacterSet="ISO_IR 192", StationName="MR2")) == ["known"] * 4
    assert len(ward.runs()) == 1


def test_the_courier_reads_undeclared_names_as_the_settings_say(ward):
    ward.take(image_of("", RUSSIAN.encode("iso8859_5")))
    ward.arrivals.mark_complete("default", "1.2.3")
    ward.copy()
    (study_id,) = ward.studies_of("patient_id", "P-1")
    with ward.database.read() as session:
        assert ward.vault.read(session, study_id, "patient_name") == RUSSIAN

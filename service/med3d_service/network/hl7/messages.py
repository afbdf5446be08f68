"""ADT messages as far as they correct a patient: A08 (update), A40 (merge) and A47 (another identifier)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hl7apy.core import Segment
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_segments

from med3d_service.studies.patient_corrections import KnownAs, PatientUpdate

UPDATE, MERGE, OTHER_ID = "A08", "A40", "A47"
EVENTS = frozenset({UPDATE, MERGE, OTHER_ID})
READ = frozenset({"PID", "MRG"})
"""Nothing else of a message is looked at, so that its length costs nothing."""
LARGEST_CHARACTERS, MOST_PARTS = 32 * 1024, 1000
"""Of all PID and MRG segments, and of repetitions and subcomponents in them: each takes up to half a millisecond."""
VERSION = "2.5"
"""By which the fields are read; PID and MRG are the same in all versions from 2.3.1 on."""
ENCODINGS = {
    "": "ascii",
    "ASCII": "ascii",
    "8859/1": "latin-1",
    "8859/2": "iso8859_2",
    "8859/5": "iso8859_5",
    "8859/7": "iso8859_7",
    "8859/9": "iso8859_9",
    "8859/15": "iso8859_15",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",  # in no table, and written all the same
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
}
"""MSH-18 (table 0211)."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NULL = '""'
LONGEST = 64
"""Characters of a PatientID, and of one group of a name, in a DICOM object."""
_OR_NONE = ", or holds none that DICOM can write: 64 characters without a backslash"
_SEPARATORS = re.compile(r"MSH([^A-Za-z0-9\r\n\s])([^A-Za-z0-9\r\n\s]{4,5})\1")
_WRITINGS = {"I": 1, "P": 2}
"""Where a writing of a name (XPN-8, table 0465) stands in DICOM; all others are alphabetic."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

ACCEPTED, ERROR, REJECTED = "AA", "AE", "AR"
SEQUENCE, MISSING, DATA_TYPE, TYPE_UNKNOWN, EVENT_UNKNOWN = "100", "101", "102", "200", "201"
KEY_UNKNOWN, INTERNAL = "204", "207"
"""Message error conditions (table 0357)."""


class MessageRefused(Exception):  # noqa: N818 - a finding about the message
    """A message that is not taken. ``acknowledgment`` is AE or AR, ``condition`` of table 0357; nothing is quoted."""

    def __init__(self, acknowledgment: str, condition: str, sentence: str) -> None:
        super().__init__(sentence)
        self.acknowledgment, self.condition, self.sentence = acknowledgment, condition, sentence


LONGEST_FIELD = 227
"""Characters of MSH's fields, as the standard bounds names of systems: the answer repeats them."""


@dataclass(frozen=True)
class Header:
    """What MSH says, as far as an answer or a decision depends on it."""

    separator: str
    encoding_characters: str
    sender: str
    sender_facility: str
    receiver: str
    receiver_facility: str
    message_type: str
    event: str
    control_id: str
    processing_id: str
    version: str
    character_set: str


def read_header(message: bytes) -> Header:
    """Read MSH. Raises MessageRefused where there is none."""
    # Segments end in a carriage return by the standard, and in a newline by what some systems write.
    message = message.removeprefix(_BYTE_ORDER_MARK).lstrip(b"\r\n")
    first = next(iter(message.decode("latin-1").replace("\n", "\r").split("\r")))
    found = _SEPARATORS.match(first)
    if found is None:
        raise MessageRefused(REJECTED, SEQUENCE, "The message does not begin with an MSH segment.")
    separator, characters = found[1], found[2]
    fields = [field[:LONGEST_FIELD] for field in first.split(separator)]
    fields += [""] * (19 - len(fields))
    kind = [*fields[8].split(characters[0]), "", ""]
    return Header(
        separator=separator,
        encoding_characters=characters,
        sender=fields[2],
        sender_facility=fields[3],
        receiver=fields[4],
        receiver_facility=fields[5],
        message_type=kind[0],
        event=kind[1],
        control_id=fields[9][:199],
        processing_id=fields[10],
        version=fields[11].split(characters[0])[0],
        character_set=fields[17].split(characters[1])[0].strip().upper(),
    )


def read_updates(header: Header, message: bytes) -> tuple[PatientUpdate, ...]:
    """Return the corrections that a message makes, one for each patient. Raises MessageRefused."""
    if header.message_type != "ADT":
        raise MessageRefused(REJECTED, TYPE_UNKNOWN, "Only ADT messages are taken here.")
    if header.event not in EVENTS:
        raise MessageRefused(REJECTED, EVENT_UNKNOWN, "Of ADT only A08, A40 and A47 are taken here.")
    if not header.control_id:
        raise MessageRefused(ERROR, MISSING, "MSH-10, the message control id, is missing.")
    segments = _segments(header, message)
    updates = tuple(_update(header, group) for group in _groups(segments))
    if not updates:
        raise MessageRefused(ERROR, SEQUENCE, "The message has no PID segment.")
    return updates


def _segments(header: Header, message: bytes) -> list[Segment]:
    codec = ENCODINGS.get(header.character_set)
    if codec is None:
        raise MessageRefused(ERROR, DATA_TYPE, "The character set of MSH-18 is not read; send UNICODE UTF-8.")
    try:
        text = message.removeprefix(_BYTE_ORDER_MARK).decode(codec)
    except UnicodeDecodeError as error:
        raise MessageRefused(ERROR, DATA_TYPE, "The text is not in the character set that MSH-18 names.") from error
    lines = (line for line in re.split(r"[\r\n]+", text) if line[:3] in READ)
    read = "\r".join(_in_plain_letters(header, line, codec) for line in lines)
    parts = sum(read.count(mark) for mark in ("\r", header.encoding_characters[1], header.encoding_characters[3]))
    if len(read) > LARGEST_CHARACTERS or parts > MOST_PARTS:
        raise MessageRefused(ERROR, DATA_TYPE, "PID and MRG hold more than any patient has. Send several messages.")
    try:
        return list(parse_segments(read, VERSION, _characters(header))) if read else []
    except HL7apyException as error:
        raise MessageRefused(ERROR, DATA_TYPE, "A PID or MRG segment cannot be read.") from error


def _in_plain_letters(header: Header, line: str, codec: str) -> str:
    """Write escaped bytes (X) as the letters that they are, and leave out highlighting and layout (HL7 v2 2.7)."""
    component, repetition, escape, subcomponent = list(header.encoding_characters)[:4]
    words = {header.separator: "F", component: "S", subcomponent: "T", repetition: "R", escape: "E"}
    sign = re.escape(escape)

    def written(found: re.Match[str]) -> str:
        if found[1] is None:
            return " " if found[2].startswith(".") else ""
        letters = _CONTROL.sub(" ", bytes.fromhex(found[1]).decode(codec, "replace"))
        return "".join(f"{escape}{words[one]}{escape}" if one in words else one for one in letters)

    return re.sub(rf"{sign}(?:X((?:[0-9A-Fa-f]{{2}})+)|([HN]|\.[a-z]{{2}}[0-9+-]*)){sign}", written, line)


def _characters(header: Header) -> dict[str, str]:
    component, repetition, escape, subcomponent = list(header.encoding_characters)[:4]
    return {
        "GROUP": "\r",
        "SEGMENT": "\r",
        "FIELD": header.separator,
        "COMPONENT": component,
        "REPETITION": repetition,
        "ESCAPE": escape,
        "SUBCOMPONENT": subcomponent,
    }


def _groups(segments: list[Segment]) -> list[list[Segment]]:
    """Return each PID with what follows it, for a merge message may hold several patients."""
    groups: list[list[Segment]] = []
    for segment in segments:
        if segment.name == "PID":
            groups.append([segment])
        elif groups:
            groups[-1].append(segment)
        else:
            raise MessageRefused(ERROR, SEQUENCE, "An MRG segment stands before any PID segment.")
    return groups


def _update(header: Header, group: list[Segment]) -> PatientUpdate:
    pid, merged = group[0], [one for one in group[1:] if one.name == "MRG"]
    reader = _Reader(header)
    ids = reader.ids(pid, "pid_3")
    if not ids:
        raise MessageRefused(ERROR, MISSING, f"PID-3, the patient's identifiers, is missing{_OR_NONE}.")
    prior = tuple(known for one in merged for known in reader.ids(one, "mrg_1"))
    if header.event != UPDATE and not prior:
        raise MessageRefused(ERROR, MISSING, f"MRG-1, the prior identifiers, is missing{_OR_NONE}.")
    return PatientUpdate(
        sought=ids if header.event == UPDATE else prior,
        becomes=() if header.event == UPDATE else ids,
        name=reader.name(pid),
        birth_date=reader.date(pid),
        sex=reader.sex(pid),
    )


class _Reader:
    """Reads fields as DICOM would have them; None for what the message leaves as it is."""

    def __init__(self, header: Header) -> None:
        self._characters, self._separator = header.encoding_characters, header.separator

    def ids(self, segment: Segment, field: str) -> tuple[KnownAs, ...]:
        found = (self._components(one.to_er7()) for one in getattr(segment, field))
        known = (KnownAs(parts[0].strip(), self._namespace(parts)) for parts in found)
        return tuple(one for one in known if one.patient_id not in {"", NULL} and _is_writable(one.patient_id))

    def name(self, pid: Segment) -> str | None:
        """Return the name as DICOM writes it (XPN-8; PS3.5 6.2.1): alphabetic=ideographic=phonetic.

        Of each writing the first repetition counts. Raises MessageRefused.
        """
        told = [str(one.to_er7()).strip() for one in pid.pid_5]
        if not any(told):
            return None
        groups = ["", "", ""]
        for one in told:
            parts = self._components(one)
            place = _WRITINGS.get(parts[7].strip().upper(), 0) if len(parts) > 7 else 0
            groups[place] = groups[place] or ("" if one == NULL else self._group(parts))
        if any(len(group) > LONGEST for group in groups):
            raise MessageRefused(ERROR, DATA_TYPE, "PID-5 is longer than a name in DICOM: 64 characters.")
        return "=".join(groups).rstrip("=")

    def _group(self, parts: list[str]) -> str:
        """Turn XPN into PN: prefix and suffix change places (PS3.5 6.2, HL7 2A.89)."""
        family, given, middle, suffix, prefix = (parts + [""] * 5)[:5]
        family = family.split(self._characters[3])[0]
        return "^".join(_plain(part) for part in (family, given, middle, prefix, suffix)).rstrip("^")

    def date(self, pid: Segment) -> str | None:
        """Return the date of birth; a year alone is none. Raises MessageRefused."""
        first = self._first(pid, "pid_7")
        if first == NULL:
            return ""
        if not re.fullmatch(r"[0-9]{8}.*", first):
            return None
        try:
            born = datetime.strptime(first[:8], "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            born = None
        if born is None or born > datetime.now(UTC) + timedelta(days=1):
            raise MessageRefused(ERROR, DATA_TYPE, "PID-7 is no date of birth: it is not in the calendar, or to come.")
        return first[:8]

    def sex(self, pid: Segment) -> str | None:
        first = self._first(pid, "pid_8")
        return "" if first == NULL else first if first in {"F", "M"} else None

    def _namespace(self, parts: list[str]) -> str:
        return _plain(parts[3].split(self._characters[3])[0]) if len(parts) > 3 else ""

    @staticmethod
    def _first(segment: Segment, field: str) -> str:
        repetitions = list(getattr(segment, field))
        return str(repetitions[0].to_er7()).strip() if repetitions else ""

    def _components(self, field: str) -> list[str]:
        """Return the components, their escapes resolved."""
        separator, repetition, escape, subcomponent = list(self._characters)[:4]
        words = {"F": self._separator, "S": separator, "T": subcomponent, "R": repetition, "E": escape}
        pattern = re.compile(re.escape(escape) + "([FSTRE])" + re.escape(escape))
        return [pattern.sub(lambda found: words[found[1]], part) for part in field.split(separator)]


def _is_writable(patient_id: str) -> bool:
    """Tell whether DICOM can hold it (LO, PS3.5 6.2)."""
    return len(patient_id) <= LONGEST and "\\" not in patient_id and _CONTROL.search(patient_id) is None


def _plain(text: str) -> str:
    """Return text that fits into a component of a DICOM name."""
    return _CONTROL.sub("", text).replace("^", " ").replace("=", " ").replace("\\", " ").strip()

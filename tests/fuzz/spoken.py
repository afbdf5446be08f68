"""What strangers say, spoilt: HTTP requests, multipart bodies and HL7 messages; each number is the same input each time."""

import random
from collections.abc import Callable, Sequence

from fuzz.mutations import BYTE_CHANGES
from rig.dicom.uploads import BOUNDARY, CONTENT_TYPE, dicom_files, files_form, nifti_file, zip_of

LARGEST_BYTES = 2 * 1024 * 1024
Change = Callable[[bytes, random.Random], bytes]
HOSTILE_JSON = (
    b"[" * 20_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"name": 1e999}',
    b'{"name": "\\ud800"}',
    b'{"name": ' + b"9" * 5_000 + b"}",
    b'{"name": "\\u0000", "name": null}',
    b'{"name": "\xff\xfe"}',
    b"null",
    b'"' + b"a" * 70_000 + b'"',
    b"[]",
    b"NaN",
)
HOSTILE_HEADERS = (
    b"Content-Length: 0",
    b"Content-Length: 18446744073709551616",
    b"Content-Length: -1",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: identity, chunked",
    b"Content-Encoding: gzip",
    b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Range: bytes=9999999-,-5,0-0",
    b"If-None-Match: " + b'"x",' * 500,
    b"Idempotency-Key: " + b"k" * 300,
    b"X-Forwarded-For: ::1, 999.999.999.999, \xff",
    b"Accept-Language: " + b"de;q=1," * 900,
    b"Cookie: med3d_session=" + b"A" * 5_000,
    b"Last-Event-ID: \xff\x00",
    b"X: \x00",
    b"X" * 3_000,
    b"A: " + b"a" * 70_000,
    b"\r\n".join(b"H%d: x" % number for number in range(120)),
)
HOSTILE_PATHS = (b"/%00", b"//", b"/../..", b"/%2e%2e/%2f", b"?cursor=%ff", b"?limit=-1", b"?" + b"a=b&" * 3000, b"*")


def spoil_bytes(data: bytes, chance: random.Random, changes: Sequence[Change]) -> bytes:
    """Change ``data`` once or a few times."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        data = chance.choice(changes)(data, chance)[:LARGEST_BYTES]
    return data


def _of_any_bytes(change: Callable[..., bytes]) -> Change:
    return lambda data, chance: change(data, chance, [])


ANY_BYTES: tuple[Change, ...] = tuple(_of_any_bytes(change) for change in BYTE_CHANGES)


# --- HTTP ---------------------------------------------------------------------------------------------------------------


def request(routes: Sequence[tuple[str, str]], keys: Sequence[str], number: int) -> bytes:
    """A request to one of ``routes`` (method, path) with one of ``keys`` or none, spoilt."""
    chance = random.Random(number)
    method, path = chance.choice(routes)
    body, kind = chance.choice(_bodies(chance))
    key = chance.choice(("", "m3d_00000000_guess", *keys))
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: x"]
    lines += [f"Authorization: Bearer {key}".encode()] if key else []
    if chance.random() < 0.7:
        lines += [b"Content-Type: " + kind, b"Content-Length: %d" % len(body)]
    else:
        lines += [b"Content-Type: " + kind, b"Transfer-Encoding: chunked"]
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    changes = (_other_header, _other_header, _other_path, _other_method, _ahead)
    if chance.random() < 0.5:
        changes = (*ANY_BYTES, *changes)  # most of these are no HTTP any more, and are turned away as such
    return spoil_bytes(b"\r\n".join((*lines, b"", body)), chance, changes)


def _bodies(chance: random.Random) -> list[tuple[bytes, bytes]]:
    json = b"application/json"
    plain = b'{"name": "n%d", "verdict": "agree", "member_filter": {}, "reason": "x"}' % chance.randrange(99)
    form = files_form(("a.dcm", dicom_files(1)[0]), age="40", sex="F")
    return [
        (b"{}", json),
        (plain, json),
        (chance.choice(HOSTILE_JSON), json),
        (form, CONTENT_TYPE.encode()),
        (b"", json),
    ]


def _other_header(data: bytes, chance: random.Random) -> bytes:
    head, between, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(HOSTILE_HEADERS))
    return b"\r\n".join(lines) + between + body


def _other_path(data: bytes, chance: random.Random) -> bytes:
    line, between, rest = data.partition(b" HTTP")
    return line + chance.choice(HOSTILE_PATHS) + between + rest


def _other_method(data: bytes, chance: random.Random) -> bytes:
    method = chance.choice((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"TRACE", b"CONNECT", b"PRI", b"get", b""))
    return method + data[data.find(b" ") :]


def _ahead(data: bytes, chance: random.Random) -> bytes:
    return data * chance.choice((2, 3, 20))


# --- multipart ----------------------------------------------------------------------------------------------------------


def multipart_body(number: int) -> tuple[str, bytes]:
    """A content type and a body, a form's or one of STOW-RS, either of them spoilt."""
    chance = random.Random(number)
    if chance.random() < 0.5:
        kind, body = CONTENT_TYPE, files_form(*_files(chance), age="40", sex="F", priority="stat")
    else:
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        parts = [b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (BOUNDARY.encode(), data)
                 for data in dicom_files(2)]  # fmt: skip
        body = b"".join(parts) + b"--%b--\r\n" % BOUNDARY.encode()
    if chance.random() < 0.1:
        kind = spoil_bytes(kind.encode(), chance, ANY_BYTES).decode("latin-1")
    return kind, spoil_bytes(body, chance, (*ANY_BYTES, _other_boundary, _part_headers, _many_parts))


def _files(chance: random.Random) -> list[tuple[str, bytes]]:
    name = chance.choice(("a.dcm", "../../etc/passwd", "\x00", "é" * 300, "a.nii", 'x"; filename="y'))
    archive = zip_of({"a/1.dcm": dicom_files(1)[0], "b.nii": nifti_file()})
    return [(name, chance.choice((dicom_files(1)[0], nifti_file(), archive, b"")))]


def _other_boundary(data: bytes, chance: random.Random) -> bytes:
    mark = BOUNDARY.encode()
    return data.replace(mark, chance.choice((mark[:-1], mark + b"-", b"", mark + b"--")), chance.choice((1, 2, -1)))


def _part_headers(data: bytes, chance: random.Random) -> bytes:
    header = chance.choice((b"X: " + b"y" * 5_000, b"H: x\r\n" * 20, b": ", b"\xff\xfe: \x00", b"Content-Disposition"))
    return data.replace(b"\r\n", b"\r\n" + header + b"\r\n", 1)


def _many_parts(data: bytes, chance: random.Random) -> bytes:
    return (b"--%b\r\n\r\n\r\n" % BOUNDARY.encode()) * chance.choice((10, 2_000)) + data


# --- HL7 ----------------------------------------------------------------------------------------------------------------

HL7_HEAD = b"MSH|^~\\&|HIS|HOSP|MED3D|MRI|20260105||ADT^%s|M-1|P|2.5||||||%s"
HL7_SEGMENTS = (
    b"EVN|A08|20260105",
    b"PID|1||P-1^^^HOSP^MR~P-2^^^&1.2.3&ISO||M\xc3\xbcller^\xc3\x84nne^^^Dr.~M^A^^^^^^I||19610203|F",
    b'PID|1||P-9^^^HOSP^MR||Doe\\S\\Roe^Rita\\X0D\\\\H\\||""|M',
    b"MRG|P-1^^^HOSP^MR~O3",
    b"PV1|1|I|" + b"x" * 2_000,
    b"OBX|1|ED|||" + b"A" * 20_000,
    b"ZZZ",
)
HL7_NASTY = (
    b"|",
    b"^",
    b"~",
    b"\\",
    b"\\X00\\",
    b"\\.br\\",
    b"\x0b",
    b"\x1c\r",
    b"\r",
    b"\n",
    b"\x00",
    b'""',
    b"\xff",
    b"&",
)


def hl7_stream(number: int) -> bytes:
    """What comes on a connection: frames of one or several messages, spoilt."""
    chance = random.Random(number)
    frames = []
    for _ in range(chance.choice((1, 1, 3))):
        head = HL7_HEAD % (
            chance.choice((b"A08", b"A40^ADT_A39", b"A47", b"A01", b"")),
            chance.choice((b"", b"UNICODE UTF-8", b"8859/1", b"ASCII", b"ISO IR87")),
        )
        segments = chance.choices(HL7_SEGMENTS, k=chance.randrange(1, 6))
        frames.append(b"\x0b" + b"\r".join((head, *segments, b"")) + b"\x1c\r")
    return spoil_bytes(
        b"".join(frames), chance, (*ANY_BYTES, _insert_nasty, _insert_nasty, _many_repetitions, _repeat_all)
    )


def _insert_nasty(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(HL7_NASTY) * chance.choice((1, 1, 5, 300)) + data[at:]


def _many_repetitions(data: bytes, chance: random.Random) -> bytes:
    return data.replace(b"P-1", b"~".join([b"P-1^^^HOSP"] * chance.choice((50, 2_000))), 1)


def _repeat_all(data: bytes, chance: random.Random) -> bytes:
    return data * chance.choice((2, 40))

"""The service says of a file that is not read what `med3d analyse` says of it."""

import gzip
import struct

import pytest

from med3d_contract.sent_files.unread_files import UNREAD_SUFFIXES, of_nothing_read, why_nowhere, why_unread
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.volume_files import image_formats
from med3d_pipeline.study.study import read_study, select_series

ANALYZE = struct.pack("<i", 348) + bytes(344)
CONTENTS = {
    **{f"begins as {what}": ("x", start + bytes(400)) for start, what, _ in image_formats._BY_START},
    **{f"is called {suffix}": (f"x{suffix}", b"?" * 400) for suffix in image_formats._BY_NAME},
    "half a pair": ("x.img", bytes(400)),
    "Analyze": ("x.hdr", ANALYZE),
    "big endian Analyze": ("x.hdr", struct.pack(">i", 348) + bytes(344)),
    "NIfTI in two files": ("x.hdr", ANALYZE[:344] + b"ni1\0"),
    "gzipped NRRD": ("x.nrrd.gz", gzip.compress(b"NRRD0004" + bytes(400))),
    "gzipped AFNI": ("x.BRIK.gz", gzip.compress(bytes(400))),
    "gzipped half of a pair": ("x.img.gz", gzip.compress(bytes(400))),
    "damaged NIfTI": ("x.nii", ANALYZE[:344] + b"n+1\0" + bytes(400)),
    "gzipped letter": ("x.txt.gz", gzip.compress(b"Dear")),
    "cut gzip": ("x.nii.gz", gzip.compress(bytes(range(256)))[:12]),
    "letter": ("x.txt", b"Dear"),
    "nothing": ("x.dcm", b""),
    "empty volume": ("x.nii.gz", b""),
    "placeholder": ("x.nii.gz", b"/annex/objects/SHA256E-s1--a.nii.gz\n"),
    "page for a volume": ("x.nii", b"<html>" * 100),
}


def analysed(*paths):
    with pytest.raises(InputRefused) as refused:
        select_series(read_study(paths))
    return refused.value.code, refused.value.reason


@pytest.mark.parametrize(("name", "content"), CONTENTS.values(), ids=CONTENTS.keys())
def test_a_file_that_is_not_read_is_told_in_the_words_of_analyse(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    unread = why_unread(name, content)
    assert (unread.code, unread.reason) == analysed(tmp_path)


def test_no_ending_of_analyse_is_unknown_here():
    assert set(UNREAD_SUFFIXES) == {*image_formats._BY_NAME, ".img"}


@pytest.mark.parametrize("target", [".git/annex/objects/xx/a.nii.gz", "elsewhere"])
def test_a_link_to_nothing_is_told_in_the_words_of_analyse(tmp_path, target):
    link = tmp_path / "a"
    link.symlink_to(target)
    unread = why_nowhere(link)
    assert (unread.code, unread.reason) == analysed(link)


@pytest.mark.parametrize(
    "names", [("letter", "Analyze"), ("half a pair", "is called .par"), ("Analyze", "empty volume")]
)
def test_of_several_the_one_that_analyse_tells_is_told(tmp_path, names):
    files = [CONTENTS[name] for name in names]
    for number, (name, content) in enumerate(files):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / name).write_bytes(content)
    unread = of_nothing_read([why_unread(*file) for file in files])
    assert (unread.code, unread.reason) == analysed(tmp_path)

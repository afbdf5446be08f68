import pytest

from med3d_pipeline.calibration.scanner import Scanner, scanners_of
from rig.science.predictions import Scanner as Found

PRISMA = Scanner(manufacturer="Siemens", model="Prisma", field_strength_t=3.0)


@pytest.mark.parametrize(
    ("found", "named", "contradicted"),
    [
        (Found(2.89, "SIEMENS", "prisma "), True, False),
        (Found(None, "Siemens", "Prisma"), True, False),
        (Found(1.5, "Siemens", "Prisma"), False, True),
        (Found(3.0, "Siemens", "Skyra"), False, True),
        (Found(3.0, "GE", None), False, True),
        (Found(3.0, "Siemens", None), False, False),
        (Found(None, None, None), False, False),
    ],
)
def test_a_scanner_is_known_by_maker_and_model_and_contradicted_by_any_of_three(found, named, contradicted):
    assert (PRISMA.is_named_by(found), PRISMA.contradicts(found)) == (named, contradicted)


@pytest.mark.parametrize(
    ("sidecar", "headers"),
    [
        (("GE", "DISCOVERY_MR750"), ("GE MEDICAL SYSTEMS", "DISCOVERY MR750")),
        (("Philips", "Achieva_dStream"), ("Philips Medical Systems", "Achieva dStream")),
        (("Philips", "Ingenia"), ("Philips Healthcare", "Ingenia")),
        (("Siemens", "MAGNETOM_Vida"), ("Siemens Healthineers", "MAGNETOM Vida")),
        (("SIEMENS", "Prisma_fit"), ("Siemens Healthineers", "Prisma fit")),
    ],
)
def test_a_scanner_is_the_same_as_its_headers_and_as_converters_spell_it(sidecar, headers):
    one, other = Found(3.0, *sidecar), Found(3.0, *headers)
    assert len(scanners_of([one, other])) == 1
    assert Scanner.of(one).is_named_by(other)
    assert Scanner.of(other).is_named_by(one)
    assert Scanner.of(one).contradicts(Found(3.0, headers[0], "another"))


def test_a_calibration_of_an_unknown_scanner_is_named_by_none_and_contradicted_by_none():
    unknown = Scanner()
    assert not unknown.is_named_by(Found(3.0, "Siemens", "Prisma"))
    assert not unknown.contradicts(Found(3.0, "Siemens", "Prisma"))
    assert unknown.in_words() == "scanner not told"


def test_heads_tell_together_what_each_tells_in_part():
    assert scanners_of([Found(None, "Siemens", None), Found(3.0, None, "Prisma")]) == [PRISMA]
    assert scanners_of([]) == [Scanner()]

"""A short, seeded part of `make fuzz`: spoilt requests, multipart bodies and HL7 messages are answered, and nothing is left."""

import logging

import pytest

from fuzz.speaking import SPOKEN
from fuzz.spoken import hl7_stream, multipart_body, request

FIRST = 7_000_000


def test_the_same_number_is_the_same_input():
    routes = [("GET", "/runs"), ("POST", "/cohorts")]
    for made in (hl7_stream, multipart_body, lambda number: request(routes, ["key"], number)):
        assert made(FIRST) == made(FIRST)
        assert made(FIRST) != made(FIRST + 1)


@pytest.mark.parametrize(("name", "count"), [("http", 60), ("multipart", 40), ("hl7", 40)])
def test_what_is_said_spoilt_is_answered_as_any_caller_is(tmp_path, name, count):
    logging.disable(logging.WARNING)
    try:
        answers = {SPOKEN[name](number, tmp_path) for number in range(FIRST, FIRST + count)}
    finally:
        logging.disable(logging.NOTSET)
    assert len(answers) > 2
    assert not list(tmp_path.iterdir())

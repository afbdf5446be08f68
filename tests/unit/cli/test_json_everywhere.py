"""Each command answers programs in JSON, but for those that have no answer or whose answer is a file of its own form."""

from typer.main import get_command

from med3d_cli.main import make_app

EXCEPTIONS = {
    "audit export": "writes the trail itself, by --format: JSON lines, ATNA or syslog",
    "bids": "each answer is a JSON file of the derivative",
    "calibrate": "writes the calibration, a signed JSON file",
    "cohort diff": "writes a page or a CSV table, by --out",
    "cohort export": "writes CSV or Parquet",
    "demo": "shows a person what happens, step by step",
    "figure": "writes a picture",
    "pacs conformance": "writes a document",
    "pacs listen": "stays up, and its log is JSON lines",
    "pacs orthanc-config": "writes Orthanc's settings, which are JSON",
    "serve": "stays up; what it prints first is for whoever started it",
    "watch": "stays up, and its log is JSON lines",
    "worker": "stays up, and its log is JSON lines",
}
"""Commands that have no ``--json``, and why."""


def commands(command, name=()):
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from commands(below, (*name, word))
    else:
        yield " ".join(name), {option for one in command.params for option in one.opts}


def test_every_command_with_an_answer_has_json():
    without = {name for name, options in commands(get_command(make_app())) if "--json" not in options}
    assert without == EXCEPTIONS.keys()

"""Each command answers programs in JSON, but for those that have no answer or whose answer is a file of its own form."""

from typer.main import get_command

from med3d_cli.main import make_app

STAY_UP = {"serve", "worker", "watch", "pacs listen", "demo"}
WRITE_FILES = {
    "audit export",  # JSON lines and others by --format
    "bids",  # each answer is a JSON file of the derivative
    "calibrate",
    "cohort diff",  # --out PAGE.html, TABLE.csv
    "cohort export",  # CSV or Parquet
    "figure",
    "pacs conformance",
    "pacs orthanc-config",
}
A_SENTENCE_AND_A_STATUS = {
    "audit renew-counter",
    "audit verify",
    "identifier-key rotate",
    "rules test",
    "site-key rotate",
}
"""What they say is for people; programs go by the exit status."""


def commands(command, name=()):
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from commands(below, (*name, word))
    else:
        yield " ".join(name), {option for one in command.params for option in one.opts}


def test_every_command_with_an_answer_has_json():
    without = {name for name, options in commands(get_command(make_app())) if "--json" not in options}
    assert without == STAY_UP | WRITE_FILES | A_SENTENCE_AND_A_STATUS

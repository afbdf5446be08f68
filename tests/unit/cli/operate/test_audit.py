import json

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_cli.operate.audit import EXIT_BROKEN
from rig.service.parts import migrated, open_database


def med3d(tmp_path, *words):
    """What a command says; raises CommandError as the command itself does."""
    done = CliRunner().invoke(make_app(), [*words, "--data-dir", str(tmp_path)])
    if isinstance(done.exception, CommandError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def service(tmp_path):
    migrated(tmp_path)


def test_a_trail_that_is_not_there_is_not_proven_and_none_is_begun(tmp_path):
    elsewhere = tmp_path / "typo"
    for words in (("audit", "verify"), ("audit", "export")):
        with pytest.raises(CommandError, match="there is no database at"):
            med3d(elsewhere, *words)
    assert not elsewhere.exists()


def test_a_trail_is_not_held_against_a_key_that_was_made_just_now(tmp_path):
    (tmp_path / "site.key").unlink()
    with pytest.raises(CommandError, match=r"the site key is missing: copy it to .*site\.key"):
        med3d(tmp_path, "audit", "verify")
    assert not (tmp_path / "site.key").exists()


def test_changes_of_keys_are_in_the_trail_and_exporting_it_is_too(tmp_path):
    prefix = med3d(tmp_path, "keys", "create", "--role", "admin").split("_")[1]
    med3d(tmp_path, "keys", "revoke", prefix)
    first, second = [json.loads(line) for line in med3d(tmp_path, "audit", "export").splitlines()]
    assert (first["action"], first["object_id"], first["detail"]["change"]) == ("secure", prefix, "created")
    assert (first["actor_kind"], second["detail"]["change"]) == ("command", "revoked")
    assert b"AuditMessage" in med3d(tmp_path, "audit", "export", "--format", "atna", "--after", "2").encode()
    assert med3d(tmp_path, "audit", "verify").startswith("4 entries, all as they were written")


def test_a_tampered_trail_is_told_by_the_exit_code(tmp_path):
    med3d(tmp_path, "keys", "create", "--role", "viewer")
    end = med3d(tmp_path, "audit", "verify").split("end: ")[1].strip()
    assert med3d(tmp_path, "audit", "verify", "--noted", end)
    database = open_database(tmp_path)
    with database.write() as session:
        session.execute(text("UPDATE audit_trail SET actor = 'somebody else'"))
    database.close()
    with pytest.raises(CommandError, match="entry 1: it was changed") as told:
        med3d(tmp_path, "audit", "verify")
    assert told.value.exit_code == EXIT_BROKEN


def test_programs_hear_whether_the_trail_is_intact_and_which_keys_work(tmp_path):
    prefix = med3d(tmp_path, "keys", "create", "--role", "viewer").split("_")[1]
    told = json.loads(med3d(tmp_path, "audit", "verify", "--json"))
    assert (told["intact"], told["entries"], told["restored"]) == (True, 1, [])
    assert med3d(tmp_path, "audit", "verify", "--noted", told["end"])
    assert json.loads(med3d(tmp_path, "audit", "renew-counter", "--json")) == {"working_keys": [prefix]}
    database = open_database(tmp_path)
    with database.write() as session:
        session.execute(text("UPDATE audit_trail SET actor = 'somebody else'"))
    database.close()
    done = CliRunner().invoke(make_app(), ["audit", "verify", "--json", "--data-dir", str(tmp_path)])
    said = json.loads(done.stdout)
    assert said["intact"] is False
    assert "entry 1: it was changed" in said["reason"]
    assert isinstance(done.exception, CommandError)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "--format", "pdf"), "no format"),
        (("export", "--syslog", "http://127.0.0.1"), "udp://"),
        (("export", "--syslog", "tcp://127.0.0.1:9"), "not sent"),
        (("verify", "--noted", "17"), "no end of a trail"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, words, said):
    with pytest.raises(CommandError, match=said):
        med3d(tmp_path, "audit", *words)

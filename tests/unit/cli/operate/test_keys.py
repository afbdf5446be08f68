import stat

import pytest
from typer.testing import CliRunner

from med3d_cli.errors import CommandError
from med3d_cli.main import make_app
from med3d_service.trust.access.api_keys import find_key
from rig.service.parts import open_database


def keys(tmp_path, *words):
    """What `med3d keys` says; raises CommandError as the command itself does."""
    done = CliRunner().invoke(make_app(), ["keys", *words, "--data-dir", str(tmp_path)])
    if isinstance(done.exception, CommandError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(autouse=True)
def found(tmp_path):
    database = open_database(tmp_path)
    yield lambda text: find_key(database, text.strip())
    database.close()


def test_a_key_is_shown_once_and_listed_by_its_prefix(tmp_path, found):
    text = keys(tmp_path, "create", "--role", "submitter", "--clinical", "--site", "north", "--name", "ward 7")
    key = found(text)
    assert (key.role, key.clinical, key.site, key.name, key.expires_at) == ("submitter", True, "north", "ward 7", None)
    listed = keys(tmp_path, "list")
    assert key.prefix in listed
    assert text.strip().split("_", 2)[2] not in listed


def test_a_key_may_go_into_a_file_that_only_its_owner_reads(tmp_path, found):
    path = tmp_path / "robot.key"
    shown = keys(tmp_path, "create", "--role", "viewer", "--out", str(path))
    assert found(path.read_text()).role == "viewer"
    assert path.read_text().strip() not in shown
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="no key was made"):
        keys(tmp_path, "create", "--role", "viewer", "--out", str(path))
    assert keys(tmp_path, "list").count("viewer") == 1


def test_a_rotated_key_gives_way_to_one_that_may_do_the_same(tmp_path, found):
    old = keys(tmp_path, "create", "--role", "operator", "--site", "north", "--expires", "90d").strip()
    new = keys(tmp_path, "rotate", found(old).prefix, "--overlap", "1h").strip()
    assert (found(new).role, found(new).site) == ("operator", "north")
    assert found(new).expires_at - found(new).created_at == pytest.approx(90 * 86400)
    assert found(old).expires_at < found(new).created_at + 3601, "both work until the overlap is over"
    gone = keys(tmp_path, "rotate", found(new).prefix, "--overlap", "0h").strip()
    assert found(new) is None
    assert found(gone).role == "operator"


def test_a_revoked_key_opens_nothing(tmp_path, found):
    text = keys(tmp_path, "create", "--role", "admin")
    keys(tmp_path, "revoke", found(text).prefix)
    assert found(text) is None
    assert "revoked" in keys(tmp_path, "list")


def test_nothing_is_made_where_there_is_no_service(tmp_path):
    elsewhere = tmp_path / "typo"
    for words in (("list",), ("create", "--role", "viewer"), ("revoke", "00000000")):
        with pytest.raises(CommandError, match="there is no database at"):
            keys(elsewhere, *words)
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "--role", "root"), "no role"),
        (("create", "--role", "worker", "--clinical"), "never sees"),
        (("create", "--role", "viewer", "--expires", "soon"), "no time"),
        (("revoke", "00000000"), "no key that works"),
        (("rotate", "00000000"), "no key that works"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, words, said):
    with pytest.raises(CommandError, match=said):
        keys(tmp_path, *words)

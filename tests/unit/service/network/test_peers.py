"""The peers' file: what is wrong is told by name when a process starts, and no secret is ever quoted."""

import pytest
from pydantic import SecretStr

from med3d_service.network.peers import ConfigurationError, load_peers
from med3d_service.network.peers.checking import check_peers
from med3d_service.problems import ServiceError

SECRET = "0123456789abcdef0123456789abcdef"
WHOLE = """
[dicomweb.archive]
url = "https://pacs.example.org/dicom-web/"
user = "med3d"
password = {file = "archive.password"}

[dicomweb.ward]
url = "http://orthanc.example.org:8042/dicom-web"
allow_insecure = true
bearer = {env = "WARD_TOKEN"}
[dicomweb.ward.orthanc]
rest_url = "http://orthanc.example.org:8042/"
hook_secret = {file = "hook.secret"}

[dimse.archive]
host = "pacs.example.org"
port = 104
ae_title = "ARCHIVE"
retrieve = "c-move"
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a peers' file beside its secrets; its path."""
    (tmp_path / "archive.password").write_text("open sesame\n")
    (tmp_path / "hook.secret").write_text(SECRET + "\n")
    monkeypatch.setenv("WARD_TOKEN", "token")

    def write(text):
        path = tmp_path / "peers.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("way_in", ['user = "a"\npassword = {env = "WARD_TOKEN"}', 'bearer = {env = "WARD_TOKEN"}'])
def test_a_password_goes_in_the_clear_only_where_that_is_meant(written, way_in):
    table = '[dicomweb.ward]\nurl = "ADDRESS"\n' + way_in + "\n"
    with pytest.raises(ConfigurationError, match="allow_insecure"):
        load_peers(written(table.replace("ADDRESS", "http://orthanc.example.org")))
    for taken in ("https://orthanc.example.org", "http://127.0.0.1:8042"):
        assert load_peers(written(table.replace("ADDRESS", taken))).dicomweb_peer("ward")
    assert load_peers(written(table.replace("ADDRESS", "http://orthanc.example.org") + "allow_insecure = true\n"))
    assert load_peers(written('[dicomweb.ward]\nurl = "http://orthanc.example.org"\n')), "nothing secret is sent"


def test_a_peer_of_one_site_does_not_exist_for_the_others(written):
    bound = WHOLE.replace("[dicomweb.ward]\n", '[dicomweb.ward]\nsites = ["north"]\n')
    peers = load_peers(written(bound.replace("port = 104\n", 'port = 104\nsites = ["south", "north"]\n')))
    assert set(peers.of_site("north").dicomweb) == {"archive", "ward"}
    assert set(peers.of_site("south").dicomweb) == {"archive"}
    assert (set(peers.of_site("south").dimse), set(peers.of_site("west").dimse)) == ({"archive"}, set())
    assert peers.of_site(None) == peers
    with pytest.raises(ServiceError, match="unknown_peer"):
        peers.of_site("south").dicomweb_peer("ward")
    ward, archive = peers.dicomweb_peer("ward"), peers.dicomweb_peer("archive")
    assert (ward.own_site("default"), archive.own_site("default")) == ("north", "default")


def test_a_peer_whose_name_is_unknown_is_one_that_does_not_answer(written):
    peer = load_peers(written('[dimse.ward]\nhost = "no.such.host.invalid"\nport = 104\nae_title = "X"\n'))
    [*found] = check_peers(peer, None, ())
    assert found[0].is_fault
    assert "does not answer at no.such.host.invalid" in found[0].said


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('url = "http://127.0.0.1:8042"\npasword = "x"', "dicomweb.ward.pasword: there is no such setting"),
        ('user = "x"', "dicomweb.ward.url: it is missing"),
        (
            'url = "http://127.0.0.1"\nuser = "x"\npassword = {file = "none"}',
            "dicomweb.ward.password: the secret's file cannot be read (FileNotFoundError)",
        ),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_in_words(written, table, said):
    with pytest.raises(ConfigurationError) as wrong:
        load_peers(written(f"[dicomweb.ward]\n{table}\n"))
    assert str(wrong.value).endswith(f" is wrong: {said}")


def test_a_file_may_begin_with_a_byte_order_mark(written):
    assert load_peers(written("\ufeff" + WHOLE)).dimse_peer("archive").port == 104


def test_without_a_file_there_are_no_peers():
    with pytest.raises(ServiceError) as caught:
        load_peers(None).dicomweb_peer("archive")
    assert (caught.value.code, caught.value.status) == ("unknown_peer", 422)


def test_peers_are_found_by_name_and_way(written):
    peers = load_peers(written(WHOLE))
    archive = peers.dicomweb_peer("archive")
    assert (archive.base_url, archive.basic_auth) == (
        "https://pacs.example.org/dicom-web",
        ("med3d", "open sesame"),
    )
    assert peers.dicomweb_peer("ward").headers == {"Authorization": "Bearer token"}
    assert peers.dimse_peer("archive").destination == "MED3D"
    assert list(peers.orthancs) == ["ward"]
    assert peers.orthancs["ward"].orthanc.hook_secret == SecretStr(SECRET)
    with pytest.raises(ServiceError):
        peers.dimse_peer("ward")


def test_secrets_are_not_shown(written):
    shown = repr(load_peers(written(WHOLE)))
    assert "sesame" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dicomweb", "not TOML"),
        ("[dicomweb.a]\nurl = 'ftp://x/'", "dicomweb.a.url"),
        ("[dicomweb.a]\nurl = 'http://me:word@x/'", "holds credentials"),
        ("[dicomweb.a]\nurl = 'http://x/'\nuser = 'me'", "go together"),
        ("[dicomweb.a]\nurl = 'http://x/'\nurll = 'http://y/'", "dicomweb.a.urll"),
        ("[dicomweb.a]\nurl = 'http://x/'\nbearer = 'word'", "{file ="),
        ("[dicomweb.a]\nurl = 'http://x/'\nbearer = {file = 'nowhere'}", "cannot be read"),
        ("[dicomweb.a]\nurl = 'http://x/'\nbearer = {env = 'NOT_SET_ANYWHERE'}", "NOT_SET_ANYWHERE"),
        ("[dicomweb.a]\nurl = 'http://x/'\ntls = {ca_file = 'archive.password'}", "certificates"),
        (
            "[dicomweb.a]\nurl = 'http://x/'\northanc = {rest_url = 'http://x', hook_secret = {env = 'WARD_TOKEN'}}",
            "32",
        ),
        ("[dicomweb.'a b']\nurl = 'http://x/'", "dicomweb.a b"),
        ("[dimse.a]\nhost = 'x'\nport = 0\nae_title = 'A'", "dimse.a.port"),
        ("[dimse.a]\nhost = 'x'\nport = 104\nae_title = 'SEVENTEEN-LETTERS'", "dimse.a.ae_title"),
        ("[dimse.a]\nhost = 'x;y'\nport = 104\nae_title = 'A'", "dimse.a.host"),
        ("[dimse.a]\nhost = 'x'\nport = 104\nae_title = 'A'\nretrieve = 'c-push'", "dimse.a.retrieve"),
    ],
)
def test_a_mistake_is_named_in_one_line_without_the_value(written, text, said):
    with pytest.raises(ConfigurationError) as caught:
        load_peers(written(text))
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "word@x" not in message


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_peers(tmp_path / "none.toml")

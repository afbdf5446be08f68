"""AE titles (PS3.5 6.2): in every file and setting read alike, or told as wrong with the key and the rule."""

import pytest

from med3d_service.network.listener.admission import AllowList, InvalidCallerError
from med3d_service.network.listener.own_titles import load_own_titles
from med3d_service.network.peers import ConfigurationError, load_peers
from med3d_service.network.peers.ae_titles import read_ae_title
from med3d_service.settings import Settings

RIGHT = {
    "SIXTEEN-LETTERS!": "SIXTEEN-LETTERS!",
    "  LEADING": "LEADING",
    "TRAILING  ": "TRAILING",
    " " * 9 + "SIXTEEN-LETTERS!": "SIXTEEN-LETTERS!",
    "lower case": "lower case",
    "CT[1]": "CT[1]",
    "A@B": "A@B",
}
WRONG = ("", " ", "SEVENTEEN-LETTERS", "BACK\\SLASH", "ST\u00d6RM", "LINE\nBREAK", "\u30b5\u30fc\u30d0", "TAB\t")
every_wrong = pytest.mark.parametrize("title", WRONG)
RULE = r"1 to 16 characters of ASCII.*\(PS3.5 6.2, AE\)"


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t") + '"'


def peers_of(tmp_path, **titles):
    stated = {"ae_title": "PACS"} | titles
    path = tmp_path / "peers.toml"
    lines = [f"{key} = {quoted(title)}" for key, title in stated.items()]
    path.write_text("\n".join(["[dimse.a]", 'host = "pacs"', "port = 104", *lines]), "utf-8")
    return load_peers(path).dimse["a"]


def titles_of(tmp_path, text, **settings):
    path = tmp_path / "titles.toml"
    path.write_text(text, "utf-8")
    return load_own_titles(Settings(ae_titles_file=path, data_dir=tmp_path, **settings))


@pytest.mark.parametrize(("written", "meant"), RIGHT.items())
def test_a_title_is_read_alike_wherever_it_stands(tmp_path, written, meant):
    assert read_ae_title(written) == meant
    peer = peers_of(tmp_path, ae_title=written, calling_ae_title=written, move_destination=written)
    assert (peer.ae_title, peer.calling_ae_title, peer.destination) == (meant, meant, meant)
    found = titles_of(tmp_path, f"reject_others = true\n[ae.{quoted(written)}]\nsite = 'north'")
    assert (found.called(meant).site, found.called("OTHER")) == ("north", None)
    allowed = AllowList.parse("KEY", [f"{written}@10.0.0.1"])
    assert allowed.admits(meant, "10.0.0.1")
    assert not any(allowed.admits(other, "10.0.0.1") for other in ("CT1", meant.swapcase(), meant[:-1]))


@every_wrong
@pytest.mark.parametrize("key", ["ae_title", "calling_ae_title", "move_destination"])
def test_a_wrong_title_of_a_peer_is_told_with_key_and_rule(tmp_path, key, title):
    with pytest.raises(ConfigurationError, match=rf"dimse\.a\.{key}: .*{RULE}"):
        peers_of(tmp_path, **{key: title})


@every_wrong
def test_a_wrong_title_of_ours_is_told_with_key_and_rule(tmp_path, title):
    with pytest.raises(ConfigurationError, match=rf"(?s)titles\.toml is wrong: ae\..*{RULE}"):
        titles_of(tmp_path, f"[ae.{quoted(title)}]")


@every_wrong
def test_a_wrong_title_in_an_allow_list_is_told_with_key_and_rule(tmp_path, title):
    with pytest.raises(InvalidCallerError, match=rf"^MED3D_DICOM_ALLOWED: .*{RULE}"):
        load_own_titles(Settings(dicom_allowed=(f"{title}@10.0.0.1",), data_dir=tmp_path))
    with pytest.raises(ConfigurationError, match=rf"ae\.X\.allowed: .*{RULE}"):
        titles_of(tmp_path, f"[ae.X]\nallowed = [{quoted(title + '@10.0.0.1')}]")


def test_a_star_and_a_question_mark_stand_for_any_and_a_bracket_for_itself():
    allowed = AllowList.parse("KEY", ["CT*@10.0.0.1", "MR?@10.0.0.1", "[X]@10.0.0.1"])
    admitted = [one for one in ("CT", "CT22", "MR1", "MR", "[X]", "X") if allowed.admits(one, "10.0.0.1")]
    assert admitted == ["CT", "CT22", "MR1", "[X]"]


def test_one_title_has_one_table(tmp_path):
    with pytest.raises(ConfigurationError, match="two tables"):
        titles_of(tmp_path, '[ae."STROKE "]\n[ae.STROKE]')

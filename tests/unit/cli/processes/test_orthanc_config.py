"""`med3d pacs orthanc-config` on folders as people have them: what is added, what stays, what stops it and in which words."""

import json

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.processes.orthanc.changes import Hook, changes_of, peers_table, read_configuration, warnings_of
from med3d_cli.processes.orthanc.command import orthanc_config
from med3d_cli.processes.orthanc.commented_json import NotJsonError, put_into_list, read_object

HOOK = Hook("http://127.0.0.1:8000", "ward")
DEBIAN = """{
  // "LuaScripts" : [ "a remark" ],
  "Name" : "Orthanc /* not a remark */ // nor this",
  "Nested" : { "LuaScripts" : [ "another" ] },
  /* "LuaScripts" : [ "gone" ], */
  "LuaScripts" : [
    // "here.lua"
  ],
  "Plugins" : [ "PLUGINS" ]
}
"""


@pytest.fixture
def folder(tmp_path):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "libOrthancDicomWeb.so").touch()
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "orthanc.json").write_text(DEBIAN.replace("PLUGINS", str(plugins)))
    (etc / "dicomweb.json").write_text('{"DicomWeb": {"Enable": true, "Root": "/web/"}}')
    return etc


def write(folder):
    orthanc_config(
        folder, write=True, peer="ward", url="http://127.0.0.1:8000/", secret_file=folder.parent / "hook.secret",
        systemd=folder.parent / "systemd",
    )  # fmt: skip


def settings_of(folder):
    """What Orthanc would read; a key in two files stops it."""
    found = {}
    for path in folder.glob("*.json"):
        read = read_object(path.read_text())
        assert not found.keys() & read.keys(), f"Orthanc does not start: {found.keys() & read.keys()}"
        found |= read
    return found


def test_one_section_and_one_entry_are_added_and_nothing_else_changes(folder):
    before = settings_of(folder)
    text = (folder / "orthanc.json").read_text()
    write(folder)
    after = settings_of(folder)
    assert after.pop("Med3d") == {
        "Url": "http://127.0.0.1:8000/hooks/orthanc",
        "Peer": "ward",
        "Secret": "${MED3D_HOOK_SECRET}",
    }
    assert after.pop("LuaScripts") == [str(folder / "med3d.lua")]
    del before["LuaScripts"]
    assert after == before
    inserted = f' "{folder / "med3d.lua"}"'
    assert (folder / "orthanc.json").read_text().replace(inserted, "") == text
    assert (folder / "orthanc.json.before-med3d").read_text() == text


def test_called_again_it_changes_nothing(folder, capsys):
    write(folder)
    held = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    write(folder)
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == held
    assert "is as it should be" in capsys.readouterr().out


def test_the_secret_is_made_once_for_its_owner_alone_and_never_shown(folder, capsys):
    write(folder)
    secret = (folder.parent / "hook.secret").read_text().strip()
    assert len(secret) >= 32
    assert (folder / "med3d.env").read_text() == f"MED3D_HOOK_SECRET={secret}\n"
    assert [path.stat().st_mode & 0o777 for path in (folder / "med3d.env", folder.parent / "hook.secret")] == [
        0o600
    ] * 2
    drop_in = (folder.parent / "systemd" / "orthanc.service.d" / "med3d.conf").read_text()
    assert drop_in == f"[Service]\nEnvironmentFile={folder / 'med3d.env'}\n"
    assert secret not in capsys.readouterr().out


def test_without_write_it_shows_and_changes_nothing(folder, capsys):
    held = sorted(folder.parent.rglob("*"))
    orthanc_config(folder, secret_file=folder.parent / "hook.secret", systemd=folder.parent / "systemd")
    said = capsys.readouterr().out
    assert sorted(folder.parent.rglob("*")) == held
    assert f'+  "LuaScripts" : [ "{folder / "med3d.lua"}"' in said
    assert "Nothing was changed" in said


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1", "http://", "http:// host", "ftp://host"])
def test_an_address_that_orthanc_cannot_call_is_refused(folder, url):
    with pytest.raises(CommandError, match="http:// or https://"):
        orthanc_config(folder, url=url)


@pytest.mark.parametrize("settings", [{"AuthenticationEnabled": True}, {"RemoteAccessAllowed": True}])
def test_an_orthanc_that_asks_for_a_password_gets_one_in_the_peers_file(folder, settings):
    (folder / "access.json").write_text(json.dumps(settings))
    found = read_configuration(folder)
    assert 'user = "med3d"\npassword = {file = "ward.password"}\n' in peers_table(found, HOOK, folder / "hook.secret")
    assert any("RegisteredUsers" in one for one in warnings_of(found))
    (folder / "access.json").write_text(json.dumps(settings | {"AuthenticationEnabled": False}))
    found = read_configuration(folder)
    assert "password" not in peers_table(found, HOOK, folder / "hook.secret")
    assert warnings_of(found) == []


def test_scripts_that_are_there_stay(folder):
    (folder / "orthanc.json").write_text('{"LuaScripts": ["/etc/orthanc/own.lua"], "Plugins": []}')
    (change,) = [one for one in changes_of(read_configuration(folder), HOOK) if one.path.name == "orthanc.json"]
    assert json.loads(change.after)["LuaScripts"] == [str(folder / "med3d.lua"), "/etc/orthanc/own.lua"]


def test_what_no_file_defines_is_in_ours(tmp_path):
    (ours,) = [one for one in changes_of(read_configuration(tmp_path), HOOK) if one.path.name == "med3d.json"]
    assert set(json.loads(ours.after)) == {"Med3d", "LuaScripts", "Plugins"}


def test_an_earlier_med3d_json_that_stops_orthanc_is_mended(folder):
    (folder / "med3d.json").write_text('{"LuaScripts": [], "StableAge": 60, "DicomWeb": {"Enable": true}}')
    with pytest.raises(AssertionError, match="does not start"):
        settings_of(folder)
    write(folder)
    assert settings_of(folder)["Med3d"]["Peer"] == "ward"


def test_the_peers_table_is_of_this_orthanc(folder, tmp_path):
    (folder / "more.json").write_text('{"HttpPort": 8100, "SslEnabled": true}')
    table = peers_table(read_configuration(folder), HOOK, tmp_path / "hook.secret")
    assert 'url = "https://127.0.0.1:8100/web"' in table


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.json": '{"Name": 1}', "b.json": '{"Name": 2}'}, "both define Name"),
        ({"a.json": '{"Med3d": {}}'}, "defines Med3d"),
        ({"a.json": '{"Name": '}, "not JSON as Orthanc reads it"),
        ({"a.json": "[]"}, "not JSON as Orthanc reads it"),
        ({"a.json": '{"LuaScripts": "own.lua"}'}, "LuaScripts in .* is no list"),
        ({"a.json": '{"LuaScripts": null}'}, "LuaScripts in .* is no list"),
        ({"a.json": '{"DicomWeb": "on"}'}, "DicomWeb in .* is no section"),
        ({"a.json": '{"LuaScripts": [], "LuaScripts": ["own.lua"]}'}, "stands there twice"),
    ],
)
def test_what_cannot_be_changed_is_told(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CommandError, match=words):
        changes_of(read_configuration(tmp_path), HOOK)


def test_a_folder_that_is_none_and_a_secret_that_is_none_are_told(folder):
    with pytest.raises(CommandError, match="is no folder"):
        read_configuration(folder / "orthanc.json")
    (folder.parent / "hook.secret").write_text("short\n")
    with pytest.raises(CommandError, match="holds no secret"):
        write(folder)


def test_what_would_keep_studies_from_coming_is_told(folder):
    assert warnings_of(read_configuration(folder)) == []
    own = folder / "own.lua"
    own.write_text("function OnStableStudy() end")
    (folder / "orthanc.json").write_text(json.dumps({"LuaScripts": [str(own)], "Plugins": ["/nowhere"]}))
    (folder / "dicomweb.json").write_text('{"DicomWeb": {"Enable": false}}')
    said = " ".join(warnings_of(read_configuration(folder)))
    assert all(word in said for word in ("OnStableStudy", "apt-get install orthanc-dicomweb", "switches DICOMweb off"))


def test_comments_keep_their_places():
    assert read_object(DEBIAN)["Name"] == "Orthanc /* not a remark */ // nor this"
    with pytest.raises(NotJsonError):
        put_into_list('{"a": 1}', "b", "c")


def test_line_ends_marks_and_bytes_of_another_encoding_stay_as_they_are(folder):
    text = DEBIAN.replace("PLUGINS", str(folder.parent / "plugins")).replace("\n", "\r\n")
    before = b"\xef\xbb\xbf" + text.encode().replace(b"Orthanc /*", b"Kreiskrankenhaus M\xfcnster /*")
    (folder / "orthanc.json").write_bytes(before)
    write(folder)
    inserted = f' "{folder / "med3d.lua"}"'.encode()
    assert (folder / "orthanc.json").read_bytes().replace(inserted, b"") == before
    assert (folder / "orthanc.json.before-med3d").read_bytes() == before


def test_a_link_stays_a_link_and_its_file_is_changed(folder):
    kept = folder.parent / "kept-elsewhere.json"
    (folder / "orthanc.json").rename(kept)
    (folder / "orthanc.json").symlink_to(kept)
    write(folder)
    assert (folder / "orthanc.json").is_symlink()
    assert read_object(kept.read_text())["LuaScripts"] == [str(folder / "med3d.lua")]


def test_what_is_kept_of_before_is_for_no_more_eyes_than_it_was(folder):
    (folder / "orthanc.json").chmod(0o640)
    write(folder)
    for name in ("orthanc.json", "orthanc.json.before-med3d"):
        assert (folder / name).stat().st_mode & 0o777 == 0o640, name


def test_commas_after_last_items_and_folders_that_end_in_json_stop_nothing(folder):
    (folder / "more.json").write_text('{"Name2": ", ]", "Peers": {"a": [1, 2, // last\n ], },}')
    (folder / "old.json").mkdir()
    (folder / "orthanc.json").write_text('{"LuaScripts": ["own.lua", ], "Plugins": [],}')
    write(folder)
    found = read_object((folder / "orthanc.json").read_text())
    assert found["LuaScripts"] == [str(folder / "med3d.lua"), "own.lua"]


def test_a_name_that_the_peers_file_cannot_hold_is_told(folder):
    with pytest.raises(CommandError, match="no name for the peers' file"):
        orthanc_config(folder, peer="my ward", secret_file=folder.parent / "hook.secret", systemd=folder)


def test_a_file_of_ours_that_cannot_be_read_is_told(folder):
    (folder / "med3d.env").mkdir()
    with pytest.raises(CommandError, match=r"med3d\.env cannot be read"):
        orthanc_config(folder, secret_file=folder.parent / "hook.secret", systemd=folder.parent / "systemd")

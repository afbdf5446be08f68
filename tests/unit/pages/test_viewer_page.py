"""The viewer's page: a library only where it is the pinned one, pictures in its place else, and nothing without the grant."""

import hashlib
import json
import re
from pathlib import Path

from med3d_contract.volumes import StoredVolume, StoredVolumes, VolumeName, volume_key, volumes_key
from med3d_pages import files
from med3d_pages.rendering import HEADERS
from med3d_service.trust.access import Role
from rig.service.answers_of_pages import answered

ROOT = Path(__file__).parents[3]


def page_of(api):
    return f"/ui/runs/{answered(api, subject='S-88', patient_name='Roe^Jan')}/viewer"


def test_who_may_see_heads_gets_the_viewer_where_its_library_is_and_pictures_else(api, browser):
    browser.sign_in(clinical=True)
    path = page_of(api)
    page = browser.get(path).text
    assert "Roe, Jan" in page
    assert f'href="{path}"' in browser.get(path.removesuffix("/viewer")).text
    found = re.search(r'<script src="([^"]+niivue[^"]+)" integrity="(sha384-[^"]+)" defer>', page)
    if files.viewer_library() is None:
        assert found is None
        assert "make pages" in page
        return
    assert browser.get(found[1]).status_code == 200
    assert found[2] == files.integrity_of(files.LIBRARY)
    assert f'data-volumes="{path.removeprefix("/ui").removesuffix("/viewer")}/volumes"' in page


def test_only_the_policy_of_images_is_wider_than_on_other_pages(api, browser):
    browser.sign_in(clinical=True)
    policy = browser.get(page_of(api)).headers["content-security-policy"]
    assert policy == HEADERS["Content-Security-Policy"].replace("img-src 'self'", "img-src 'self' data:")
    assert "unsafe" not in policy


def test_another_file_in_the_library_s_place_is_not_used(tmp_path):
    path = tmp_path / files.LIBRARY
    assert not files.is_trusted(path, files.LIBRARY_SHA256)
    path.write_text("alert(1)")
    assert not files.is_trusted(path, files.LIBRARY_SHA256)
    assert files.is_trusted(path, hashlib.sha256(b"alert(1)").hexdigest())


def test_without_the_grant_there_is_neither_viewer_nor_name(api, browser):
    browser.sign_in(Role.ADMIN)
    path = page_of(api)
    page = browser.get(path).text
    assert "niivue" not in page
    assert "Roe" not in page
    assert path not in browser.get(path.removesuffix("/viewer")).text
    assert browser.get("/ui/runs/none/viewer").status_code == 404


def test_a_volume_is_downloaded_once_a_worker_has_made_it(api, browser):
    run_id = answered(api)
    browser.sign_in(clinical=True)
    path = f"/ui/runs/{run_id}/nifti/head"
    assert f'href="{path}"' in browser.get(f"/ui/runs/{run_id}").text
    waiting = browser.get(path)
    assert (waiting.status_code, waiting.headers["refresh"]) == (202, "3")
    assert "A worker makes it" in waiting.text
    stored = api.service.store.put(volume_key(run_id, VolumeName.HEAD), b"nifti")
    kept = StoredVolumes(volumes=(StoredVolume(name=VolumeName.HEAD, size_bytes=5, sha256=stored.sha256),))
    api.service.store.put(volumes_key(run_id), kept.model_dump_json().encode())
    got = browser.get(path)
    assert (got.content, f'"{run_id[:8]}-head.nii.gz"' in got.headers["content-disposition"]) == (b"nifti", True)
    viewer = type(browser)(api)
    viewer.sign_in(Role.ADMIN)
    assert viewer.get(path).status_code == 403


def test_every_script_and_style_is_held_against_its_digest(browser):
    browser.sign_in(Role.SUBMITTER)
    for path in ("/ui/today", "/ui/upload"):
        page = browser.get(path).text
        for tag in re.findall(r"<(?:script|link)[^>]+(?:\.js|\.css)[^>]*>", page):
            name = re.search(r"/([\w.]+\.(?:js|css))", tag)[1]
            assert f'integrity="{files.integrity_of(name)}"' in tag


def test_the_lock_pins_the_library_whose_digest_the_pages_know():
    lock = json.loads((ROOT / "deploy" / "viewer" / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages["node_modules/@niivue/niivue"]["version"] == "0.69.0"
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())

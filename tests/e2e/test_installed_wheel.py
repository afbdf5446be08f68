"""Wheel and sdist as people get them: complete, without what lay about, and working where no checkout is."""

import doctest
import hashlib
import json
import tarfile
import zipfile
from email import message_from_string

import pytest

from rig.processes.embedded import write_small_head
from rig.processes.wheels import (
    BAITS,
    CHECKOUT,
    FreshEnvironment,
    LinkedEnvironment,
    build_distributions,
    interpreter,
)

pytestmark = pytest.mark.timeout(600)

BUNDLES = CHECKOUT / "model_export" / "bundles"
INSTALLED_AS = ".data/data/share/med3d/bundles/"
IMPORT_ALL_OF_THE_SERVICE = """
import importlib, pkgutil, med3d_service as service
for module in pkgutil.walk_packages(service.__path__, "med3d_service."):
    if not module.name.endswith("__main__") and ".migrations." not in module.name:
        importlib.import_module(module.name)
"""
RUN_NOTEBOOK = """
import json, os, sys, tempfile
import nbformat.v4 as v4
from nbclient import NotebookClient
notebook = v4.new_notebook(cells=[v4.new_code_cell(line) for line in json.loads(sys.argv[1])])
with tempfile.TemporaryDirectory() as os.environ["IPYTHONDIR"]:  # a kernel keeps a history
    NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_distributions(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return write_small_head(tmp_path_factory.mktemp("head") / "study")


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """An environment with the wheel and what its extras ``worker`` and ``service`` ask for, far from the checkout."""
    environment = LinkedEnvironment(tmp_path_factory.mktemp("installed"))
    environment.install_linked(built.wheel, ["worker", "service"])
    return environment


@pytest.fixture(scope="module")
def fetched(built, tmp_path_factory):
    """The same as pip makes it, from the index of packages."""
    environment = FreshEnvironment(tmp_path_factory.mktemp("fetched"))
    environment.install(f"{built.wheel}[worker,service]")
    return environment


def digests_in_checkout():
    files = (path for path in BUNDLES.rglob("*") if path.is_file())
    return {str(path.relative_to(BUNDLES)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def bundle_digests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition(INSTALLED_AS)[2]: name for name in archive.namelist() if INSTALLED_AS in name}
        return {name: hashlib.sha256(archive.read(inside)).hexdigest() for name, inside in names.items()}


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def assert_works(environment, head):
    """The ways in that need no service: `bundle verify` and `analyse`."""
    proved = environment.run("med3d", "bundle", "verify")
    assert proved.returncode == 0, proved.stderr
    assert "reference case within tolerances" in proved.stdout
    assert str(environment.bin.parent) in environment.run("python", "-c", "import med3d_cli; print(med3d_cli)").stdout
    analysed = environment.run("med3d", "analyse", head, "--json")
    assert analysed.returncode == 0, analysed.stderr
    assert json.loads(analysed.stdout)[0]["status"] == "completed"


@pytest.mark.parametrize("which", ["wheel", "wheel_of_sdist"])
def test_a_wheel_holds_the_checkouts_bundles_byte_for_byte(built, which):
    assert bundle_digests(getattr(built, which)) == digests_in_checkout()


def test_a_wheel_holds_all_code_and_nothing_that_lay_about(built):
    names = names_in(built.wheel)
    code = {
        str(path.relative_to(CHECKOUT / folder))
        for folder in ("service", "worker", "model_export")
        for path in (CHECKOUT / folder).glob("med3d_*/**/*.py")
    }
    assert {name for name in names if name.endswith(".py") and "/migrations/" not in name} == code
    migrations = {
        "med3d_service/" + path.relative_to(CHECKOUT / "service").as_posix()
        for path in (CHECKOUT / "service" / "migrations").rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py") and "/migrations/" in name} == migrations
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "deploy/"))]
    assert names.isdisjoint(BAITS.values())


def test_the_sdist_gives_the_wheel_that_the_checkout_gives(built):
    assert names_in(built.wheel_of_sdist) == names_in(built.wheel)


def test_a_wheel_says_under_which_licences_it_and_its_bundle_are_and_how_to_cite_them(built):
    with zipfile.ZipFile(built.wheel) as archive:
        [metadata] = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = message_from_string(archive.read(metadata).decode())
        texts = [
            archive.read(f"{metadata.removesuffix('METADATA')}licenses/{name}") for name in said.get_all("License-File")
        ]
        [citation] = (name for name in archive.namelist() if name.endswith(".data/data/share/med3d/CITATION.cff"))
        assert archive.read(citation) == (CHECKOUT / "CITATION.cff").read_bytes()
    assert said["License-Expression"] == "Apache-2.0 AND CC-BY-SA-4.0"
    assert texts == [(CHECKOUT / name).read_bytes() for name in said.get_all("License-File")]
    assert {"LICENSE", "NOTICE", "model_export/bundles/infovae-two-sites/LICENSE"} <= set(said.get_all("License-File"))


def test_an_sdist_holds_nothing_that_lay_about(built):
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "pyproject.toml" in names
    assert names.isdisjoint(BAITS)


def test_the_installed_wheel_proves_its_bundle_and_analyses_a_head(installed, head):
    assert_works(installed, head)


def test_the_library_page_s_lines_work_in_a_notebook_which_shows_the_answer(installed, head):
    page = (CHECKOUT / "docs" / "library.md").read_text()
    block = page.split("```python\n")[1].split("```")[0]
    lines = doctest.DocTestParser().get_examples(block)
    installed.install("nbclient", "ipykernel")
    cells = [f"scan = {str(head)!r}", *(line.source.strip() for line in lines), "answer"]
    done = installed.run("python", "-c", RUN_NOTEBOOK, json.dumps(cells))
    assert done.returncode == 0, done.stderr
    _, *outputs, (shown,) = json.loads(done.stdout)
    said = ["".join(f"{one['data']['text/plain']}\n" for one in cell) for cell in outputs]
    assert said == [line.want for line in lines]
    assert "data:image/png" in shown["data"]["text/html"]


def test_the_installed_wheel_shows_its_demonstration(installed):
    shown = installed.run("med3d", "demo")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "brain age" in shown.stdout
    assert "nothing is left but that picture" in shown.stdout
    (left,) = installed.home.iterdir()
    assert [str(picture) in shown.stdout for picture in left.iterdir()] == [True]


def test_the_installed_wheel_has_what_its_extras_ask_for_and_nothing_else(installed):
    found = "from importlib.util import find_spec as f; print([n for n in {} if f(n)])"
    there, absent = ["fastapi", "onnxruntime", "pydicom"], ["pip", "pyarrow", "pytest", "torch"]
    assert installed.run("python", "-c", found.format(there + absent)).stdout.strip() == str(there)


@pytest.mark.long
def test_what_pip_fetches_works_as_well(fetched, head):
    assert_works(fetched, head)


@pytest.mark.long
@pytest.mark.parametrize("extra", ["parquet", "worker-gpu", "export,export-test", "bench", "supply-chain", "dev"])
def test_what_is_too_large_to_install_resolves(fetched, built, extra):
    assert "Would install" in fetched.pip("install", "--dry-run", f"{built.wheel}[{extra}]")


@pytest.mark.long
def test_the_service_extra_alone_serves_the_api(built, tmp_path):
    environment = FreshEnvironment(tmp_path)
    environment.install(f"{built.wheel}[service]")
    done = environment.run("python", "-c", IMPORT_ALL_OF_THE_SERVICE)
    assert done.returncode == 0, done.stderr
    analysed = environment.run("med3d", "analyse", tmp_path)
    assert analysed.returncode == 1
    assert "pip install 'FILE.whl[worker]'" in " ".join(analysed.stderr.split())


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_wheel_works_on_later_pythons(built, head, tmp_path, version):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    environment = FreshEnvironment(tmp_path, python)
    environment.install(f"{built.wheel}[worker,service]")
    assert_works(environment, head)
    shown = environment.run("med3d", "demo")
    assert shown.returncode == 0, shown.stdout + shown.stderr

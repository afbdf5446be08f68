"""Fetches what the pages' viewer is made of from npm, by package-lock.json, and puts it beside them with its licences.

Run by ``make pages`` before a wheel or an image is built; nothing of it is committed. The standard library is enough.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent / "viewer"
PLACE = HERE.parents[1] / "service" / "med3d_pages" / "static" / "vendor"
LIBRARY = "@niivue/niivue/dist/niivue.umd.js"


def licences(modules: Path) -> str:
    """Gather what each package says of its licence; what a package leaves out stands in NOTICE."""
    said = []
    for description in sorted(modules.glob("**/package.json")):
        package = json.loads(description.read_text(encoding="utf-8"))
        if "name" not in package or "version" not in package:
            continue
        texts = sorted(path for path in description.parent.iterdir() if path.name.lower().startswith("licen"))
        title = f"{package['name']} {package['version']} ({package.get('license', 'no licence stated')})"
        said.append(
            "\n\n".join([title, *(path.read_text(encoding="utf-8").strip() for path in texts if path.is_file())])
        )
    return f"\n\n{'-' * 100}\n\n".join(said) + "\n"


def main() -> int:
    """Fetch, and put in place of what is there."""
    if shutil.which("npm") is None:
        print("npm is not installed (on Debian: sudo apt-get install npm): pages keep still pictures", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
        if subprocess.run(command, cwd=folder, check=False).returncode != 0:
            print("the npm registry does not answer, or gives other files than package-lock.json says", file=sys.stderr)
            return 1
        modules = Path(folder) / "node_modules"
        PLACE.mkdir(exist_ok=True)
        (PLACE / "licences.txt").write_text(licences(modules), encoding="utf-8")
        shutil.copyfile(modules / LIBRARY, PLACE / Path(LIBRARY).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())

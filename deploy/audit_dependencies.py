"""Asks pip-audit about what a folder of packages holds, and says how much of it could be asked about.

    python deploy/audit_dependencies.py SITE_PACKAGES

pip-audit leaves with 0 where the advisory service does not know a package or cannot be reached, which reads as if all
were well. Leaves with 1 where an advisory applies; with 0 and a plain word where nothing could be audited.
"""

import json
import subprocess
import sys


def main() -> int:
    """Run pip-audit over the folder that the command line names."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable",
               "--path", sys.argv[1]]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError):
        said = done.stderr.strip().splitlines()
        print(f"NOT AUDITED: the advisory service could not be asked ({said[-1] if said else 'no reason given'})")
        return 0
    return report(packages)


def report(packages: list[dict]) -> int:
    """Say what was found; the exit code."""
    asked = [one for one in packages if "vulns" in one]
    hit = [one for one in asked if one["vulns"]]
    for one in hit:
        for advisory in one["vulns"]:
            fixed = ", ".join(advisory.get("fix_versions", [])) or "no version yet"
            print(f"{one['name']} {one['version']}: {advisory['id']}, fixed in {fixed}")
    if not asked:
        print(f"NOT AUDITED: the advisory service answered about none of {len(packages)} packages")
        return 0
    print(f"{len(asked)} of {len(packages)} packages audited, {len(hit)} with advisories")
    return 1 if hit else 0


if __name__ == "__main__":
    sys.exit(main())

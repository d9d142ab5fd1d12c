"""What the program is made of, and whether a fault of a part is known.

    python -m bill write redys.cdx.json    # CycloneDX 1.6 of all pinned packages, without asking anybody
    python -m bill audit                   # asks the package registries' advisories

Exit codes of ``audit``: 0 asked and no fault is known, 1 a fault is known, 3 not asked (a service is out of
reach, which says nothing about faults).
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent
PINNED = {"requirements.txt": True, "requirements-models.txt": True, "requirements-dev.txt": False}
"""Lists of Python packages, and whether the program runs on them."""

EXIT_FAULT, EXIT_NOT_ASKED = 1, 3
WAIT_S = 240

_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


def read_pins(path: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each package of a list."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _PIN.match(line):
            yield found[1], found[2]


def list_components() -> Iterator[Component]:
    """Each pinned package: Python's and the browser's."""
    for name, is_needed in PINNED.items():
        for package, version in read_pins(ROOT / name):
            yield _component(PackageURL("pypi", None, package.lower().replace("_", "-"), version), is_needed)
    locked = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for place, about in locked.items():
        if place:
            group, _, package = place.rpartition("node_modules/")[2].rpartition("/")
            url = PackageURL("npm", group or None, package, about["version"])
            yield _component(url, not about.get("dev"), about.get("integrity", ""))


def _component(url: PackageURL, is_needed: bool, integrity: str = "") -> Component:
    kind, _, digest = integrity.partition("-")
    hashes = [HashType(alg=HashAlgorithm.SHA_512, content=base64.b64decode(digest).hex())] if digest else []
    assert kind in ("", "sha512")
    return Component(
        name=url.name,
        group=url.namespace,
        version=url.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=str(url),
        hashes=hashes,
        scope=ComponentScope.REQUIRED if is_needed else ComponentScope.EXCLUDED,
    )


def write_bill() -> str:
    """The bill as JSON text: the same for the same pins, whoever writes it and when."""
    bill: dict[str, Any] = json.loads(
        JsonV1Dot6(Bom(components=list_components())).output_as_string(indent=None)
    )
    bill["metadata"] = {
        "component": {"type": "application", "name": "redys", "bom-ref": "redys", "version": _read_version()}
    }
    bill.pop("serialNumber", None)
    named = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))
    return json.dumps({**bill, "serialNumber": f"urn:uuid:{named}"}, sort_keys=True, indent=1) + "\n"


def _read_version() -> str:
    found = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def audit() -> int:
    """Ask about Python's and the browser's packages; says each fault, and what was not asked."""
    faults = 0
    not_asked: list[str] = []
    for kind, ask in (("Python", _ask_python), ("browser", _ask_npm)):
        found, asked, left_out = ask()
        print(f"{kind} packages: {asked} asked about, {len(found)} known faults.")
        for each in found:
            print(f"  {each}")
        faults += len(found)
        not_asked += [f"{left_out} {kind} packages"] if left_out else []
    if not_asked:
        print(f"NOT ASKED: {' and '.join(not_asked)}; their advisories are out of reach.")
        print("This says nothing about faults.")
    return EXIT_FAULT if faults else EXIT_NOT_ASKED if not_asked else 0


def _ask_python() -> tuple[list[str], int, int]:
    """Known faults, how many packages were asked about, and how many could not be."""
    lists = [word for name in PINNED for word in ("-r", str(ROOT / name))]
    said = _run([sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off",
                 "--timeout", "15", "--format", "json", *lists])  # fmt: skip
    total = sum(len(list(read_pins(ROOT / name))) for name in PINNED)
    answered = [each for each in (said or {}).get("dependencies", ()) if "skip_reason" not in each]
    faults = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions'])}"
        for package in answered
        for fault in package["vulns"]
    ]
    return faults, len(answered), max(0, total - len(answered))


def _ask_npm() -> tuple[list[str], int, int]:
    said = _run(["npm", "audit", "--json", "--package-lock-only"])
    total = sum(url.type == "npm" for each in list_components() if (url := each.purl))
    if said is None or "vulnerabilities" not in said:
        return [], 0, total
    return [f"{name}: {fault['severity']}" for name, fault in said["vulnerabilities"].items()], total, 0


def _run(command: list[str]) -> Any:
    """What a command says in JSON; None where it says none."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
        return json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None


def main(arguments: list[str] | None = None) -> int:
    """Write the bill, or ask."""
    parser = argparse.ArgumentParser(prog="python -m bill", description=__doc__.partition("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write", help="write the bill").add_argument("out", type=Path)
    commands.add_parser("audit", help="ask whether a fault is known")
    options = parser.parse_args(arguments)
    if options.command == "audit":
        return audit()
    options.out.write_text(write_bill(), encoding="utf-8")
    print(f"{options.out}: {len(list(list_components()))} packages.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

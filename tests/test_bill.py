"""The bill of what the program is made of, and what an audit says of it."""

import json
import re
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import bill


def test_each_pinned_package_is_in_the_bill() -> None:
    told = {each["purl"] for each in json.loads(bill.write_bill())["components"]}
    for name in bill.PINNED:
        lines = (bill.ROOT / name).read_text().splitlines()
        for line in lines:
            if "==" in line:
                package, version = line.split("==")
                assert f"pkg:pypi/{package.lower().replace('_', '-')}@{version}" in told
    wanted = json.loads((bill.ROOT / "package.json").read_text())
    for package, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert f"pkg:npm/{package.replace('@', '%40')}@{version}" in told


def test_the_bill_is_cyclonedx_and_the_same_each_time() -> None:
    written = bill.write_bill()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    assert bill.write_bill() == written
    assert not re.search(r"20\d\d-\d\d-\d\dT", written)


PINS = [pin for name in bill.PINNED for pin in bill.read_pins(bill.ROOT / name)]
ALL = [{"name": name, "version": version, "vulns": []} for name, version in PINS]
FAULT = {"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}
NONE: dict[str, Any] = {"vulnerabilities": {}}


@pytest.mark.parametrize(
    ("python", "npm", "code", "words"),
    [
        ({"dependencies": ALL}, NONE, 0, f"{len(PINS)} asked about, 0 known faults"),
        ({"dependencies": [FAULT, *ALL[1:]]}, NONE, 1, "a 1: X-1, mended in 2"),
        (None, NONE, 3, f"NOT ASKED: {len(PINS)} Python packages"),
        (
            {"dependencies": [{"name": "a", "skip_reason": "not found"}, *ALL[1:]]},
            NONE,
            3,
            "NOT ASKED: 1 Python",
        ),
        ({"dependencies": ALL}, {"error": {"code": "ENOTFOUND"}}, 3, "browser packages; their advisories"),
        (None, {"vulnerabilities": {"three": {"severity": "high"}}}, 1, "three: high"),
    ],
)
def test_what_was_not_asked_is_never_called_free_of_faults(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    python: Any,
    npm: Any,
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr(bill, "_run", lambda command: npm if command[0] == "npm" else python)
    assert bill.audit() == code
    assert words in capsys.readouterr().out

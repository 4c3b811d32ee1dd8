"""`docs/conformance.md` says what the battery proves: the same cases and codes."""

import re
from pathlib import Path

import test_h3_extensions
import test_rfc9114
import test_rfc9204
from test_h3_conformance import CASES as HTTP3
from test_quic_conformance import CASES as TRANSPORT

DOCUMENT = Path(__file__).parents[2] / "docs/conformance.md"


def test_the_table_of_h3spec_is_what_the_battery_drives():
    rows = re.findall(r"^\| ([TH]\d\d) \| (.+?) \| (.+?) \|$", DOCUMENT.read_text(), re.MULTILINE)
    driven = {case.id: (case.name, f"{case.code:#x}") for case in TRANSPORT + HTTP3}
    assert {id: (what, result) for id, what, result in rows} == driven
    assert len(rows) == 49


def test_the_numbers_of_cases_are_those_of_the_tables():
    rows = re.findall(r"^\| `(\w+)\.py` \| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)
    modules = (test_rfc9114, test_rfc9204, test_h3_extensions)
    counts = {module.__name__: len(module.CASES) for module in modules}
    counts["test_quic_conformance"] = len(TRANSPORT)
    counts["test_h3_conformance"] = len(HTTP3)
    told = {name: int(count) for name, count in rows}
    assert {name: told.get(name) for name in counts} == counts


def test_every_test_it_names_exists():
    names = re.findall(r"`(test_\w+)`", DOCUMENT.read_text())
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert names and [name for name in names if f"def {name}(" not in sources] == []

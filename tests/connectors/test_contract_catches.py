"""The contract suite catches wrong connectors: each of its tests has at least one, and a right one passes all of them."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import wrong

import connectors
from connectors.testing.contract import ConnectorContract

HERE = Path(__file__).parent
CONTRACT = Path(connectors.__file__).parent / "CONTRACT.md"
TESTS = {name for name in dir(ConnectorContract) if name.startswith("test_")}
PAIRS = [(test, connector.__name__) for test, found in wrong.WRONG.items() for connector in found]
LIMITS = [(wrong.DECLARED, "DeclaredAndSeen"), (wrong.DECLARED, "DeclaredAndNotSeen")]


class TestRight(wrong.RightContract):
    """The right connector, on which the wrong ones are built."""


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory):
    """What pytest says of each wrong connector under the test that must catch it: {"failure", "error", "passed", …}."""
    report = tmp_path_factory.mktemp("wrong") / "report.xml"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:xdist",
            "-q",
            f"--junitxml={report}",
            f"--rootdir={HERE.parent.parent}",
        ]
        + [f"{HERE / 'wrong.py'}::Test{connector}::{test}" for test, connector in PAIRS + LIMITS],
        capture_output=True,
        cwd=HERE,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        check=False,
        timeout=300,
    )
    found = {}
    for case in ET.parse(report).iter("testcase"):
        connector = case.get("classname").rpartition(".")[2].removeprefix("Test")
        test = case.get("name").partition("[")[0]
        found.setdefault((test, connector), set()).update({child.tag for child in case} or {"passed"})
    return found


@pytest.mark.parametrize(("test", "connector"), PAIRS)
def test_a_wrong_connector_is_caught(test, connector, outcomes):
    assert "failure" in outcomes[test, connector]
    assert "error" not in outcomes[test, connector]


def test_a_declared_limit_is_excused_while_it_is_seen_and_fails_when_it_is_not(outcomes):
    assert outcomes[wrong.DECLARED, "DeclaredAndSeen"] == {"skipped"}  # so says the report of an expected failure
    assert outcomes[wrong.DECLARED, "DeclaredAndNotSeen"] == {"failure"}


def test_each_test_of_the_contract_has_a_wrong_connector():
    assert set(wrong.WRONG) == TESTS


def test_the_written_contract_names_each_test_and_no_other():
    assert set(re.findall(r"`(test_\d\d_\w+)`", CONTRACT.read_text("utf-8"))) == TESTS


def test_the_written_contract_has_each_test_under_its_own_clause():
    clause = None
    for line in CONTRACT.read_text("utf-8").splitlines():
        if match := re.match(r"(\d+)\. \*\*", line):
            clause = int(match[1])
        for number in re.findall(r"`test_(\d\d)_\w+`", line):
            assert int(number) == clause

"""FORMAT.md is true: its blocks are the example's files, its rules are the ones that errors name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import example

import manifests
from manifests.receipt import Receipt

PACKAGE = Path(manifests.__file__).parent
DOCUMENT = (PACKAGE / "FORMAT.md").read_text(encoding="utf-8")
EXAMPLE = DOCUMENT[DOCUMENT.index("## 17.") :]
BLOCKS = re.findall(r"^```\n(.*?)^```$", EXAMPLE, re.MULTILINE | re.DOTALL)


def test_the_blocks_of_the_worked_example_are_the_files_of_the_tests() -> None:
    names = (
        "manifest.jsonl",
        "manifest-sha256.txt",
        "bag-info.txt",
        "checkpoint.txt",
        "tagmanifest-sha256.partial.txt",
        "proof.elided.json",
        "manifest.jsonl.sig",
    )
    for name, block in zip(names, BLOCKS, strict=True):
        assert block.encode() == example.read(name), name


def test_every_member_of_a_receipt_is_explained() -> None:
    section = DOCUMENT[DOCUMENT.index("### 3.4") : DOCUMENT.index("### 3.5")]
    for name in Receipt.__dataclass_fields__:
        assert name == "extra" or f"`{name}`" in section, name


def test_every_rule_that_an_error_names_is_a_section() -> None:
    sections = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)", DOCUMENT, re.MULTILINE))
    for module in PACKAGE.glob("*.py"):
        for rule in re.findall(r'rule="(\d+(?:\.\d+)?)[^"]*"', module.read_text(encoding="utf-8")):
            assert rule in sections, (module.name, rule)


def test_the_receipt_with_a_parked_loss_is_one() -> None:
    elided = re.search(r'^\{"attempts":2.*$', DOCUMENT, re.MULTILINE)
    assert elided
    line = json.loads(elided[0])
    line.update(salt="R+34TNtCDerrNDPcnFjI9g==", sha256="ab" * 32)
    losses = Receipt.from_dict(line).losses
    assert losses
    assert line[(losses[0].parked or "").removeprefix("/")] == {"classe": "labo"}

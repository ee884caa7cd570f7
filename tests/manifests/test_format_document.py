"""FORMAT.md is true: its blocks are the example's files, its rules are the ones that errors name."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
from pathlib import Path

import example
import programs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import manifests
from manifests import signing
from manifests.manifest import ManifestReader
from manifests.receipt import Receipt
from manifests.sums import write_sums

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


def the_shell_block_after(heading: str) -> str:
    found = re.search(r"^```sh\n(.*?)^```$", DOCUMENT[DOCUMENT.index(heading) :], re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """The example as an evidence folder, with the practice's key outside of it."""
    for name in ("manifest.jsonl", "manifest.jsonl.sig"):
        (tmp_path / name).write_bytes(example.read(name))
    with (tmp_path / "SHA256SUMS").open("wb") as out:
        write_sums(ManifestReader(io.BytesIO(example.read("manifest.jsonl"))).lines(), out)
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"portability example key, never use it").digest())
    line = signing.allowed_signers_line("practice", signing.public_key(key))
    assert line.startswith(re.findall(r"`(practice namespaces=.*) ssh-ed25519", DOCUMENT)[0])
    (tmp_path / "practice.signers").write_text(line)
    return tmp_path


def run(block: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", block], cwd=folder, capture_output=True, text=True, check=False)


@programs.needs("bash")  # or zsh: the commands are written for either
def test_the_command_that_ties_the_sums_to_the_manifest_finds_a_foreign_sum(evidence: Path) -> None:
    block = the_shell_block_after("### 3.10")
    assert (run(block, evidence).stdout, run(block, evidence).stderr) == ("", "")
    with (evidence / "SHA256SUMS").open("a") as sums:
        sums.write("ef" * 32 + "  patients/b\n")
    assert run(block, evidence).stdout == "ef" * 32 + "\n"


@programs.needs("bash", "sha256sum", "ssh-keygen")
def test_the_other_checks_of_the_example_pass_and_notice_one_changed_byte(evidence: Path) -> None:
    block = the_shell_block_after("**Other checks**")
    done = run(block, evidence)
    assert done.returncode == 0
    seal, line, leaf, *signature = done.stdout.splitlines()
    assert seal.split()[0] == json.loads(line)["seal"]["sha256"]
    assert f"`{leaf.split()[0]}`" in DOCUMENT
    assert 'Good "portability-archive-v1" signature for practice' in signature[0]
    manifest = evidence / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().replace(b"v1", b"v9", 1))
    assert run(block, evidence).returncode != 0

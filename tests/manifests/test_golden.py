"""The worked example is rebuilt byte for byte, and checked with stock tools."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import example
import programs

from manifests import tree
from manifests.census import CensusTally
from manifests.manifest import Header, ManifestReader, ManifestWriter, prove_line, read_manifest
from manifests.receipt import Receipt


def test_every_line_follows_from_the_table_of_contents() -> None:
    receipts = [Receipt.from_line(line, archive=True) for line in example.lines()[1:-1]]
    assert [(receipt.key, receipt.order) for receipt in receipts] == list(example.CONTENTS)
    for receipt, content in zip(receipts, example.CONTENTS.values(), strict=True):
        if content is None:
            assert (receipt.kind, receipt.size, receipt.sha256) == ("delete_marker", None, None)
        else:
            assert (receipt.kind, receipt.size) == ("object", len(content))
            assert receipt.sha256 == hashlib.sha256(content).hexdigest()
            assert receipt.source_digests == {"etag": f'"{hashlib.md5(content).hexdigest()}"'}


def test_the_census_follows_from_the_table() -> None:
    tally = CensusTally()
    for (key, order), content in example.CONTENTS.items():
        kind = "delete_marker" if content is None else "object"
        tally.add(key, kind, order=order, size=None if content is None else len(content))
    assert tally.census("2026-11-21T09:01:58Z") == Header.from_line(example.lines()[0]).census


def test_writing_the_receipts_gives_the_manifest_back_byte_for_byte(tmp_path: Path) -> None:
    first, *lines = example.lines()[:-1]
    with ManifestWriter(tmp_path / "manifest.jsonl", Header.from_line(first)) as writer:
        for line in lines:
            writer.add(Receipt.from_line(line))
        written = writer.seal()
    data = (tmp_path / "manifest.jsonl").read_bytes()
    assert data == example.read("manifest.jsonl")
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    with (tmp_path / "manifest.jsonl").open("rb") as stream:
        assert read_manifest(stream) == written


def test_the_checkpoint_is_rebuilt() -> None:
    with (example.DATA / "manifest.jsonl").open("rb") as stream:
        checkpoint = read_manifest(stream).checkpoint
    assert checkpoint.to_bytes() == example.read("checkpoint.txt")
    assert tree.Checkpoint.from_bytes(example.read("checkpoint.txt")) == checkpoint


def test_the_proof_of_the_third_line_is_rebuilt() -> None:
    proof = prove_line(
        lambda: (example.DATA / "manifest.jsonl").open("rb"), lambda line: line["key"].endswith("rénale.pdf")
    )
    assert proof is not None
    assert tree.leaf_hash(proof.line).hex() == "10a87c24f73067159829e49e7a5df5631b7795ee9a7de80307752709d87642ac"
    document = json.loads(proof.to_bytes())
    assert document["line"].encode() == example.lines()[3]
    elided = json.dumps({**document, "line": "…"}, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
    assert elided.encode() == example.read("proof.elided.json")
    assert tree.Proof.from_bytes(proof.to_bytes()) == proof
    assert proof.holds(tree.Checkpoint.from_bytes(example.read("checkpoint.txt")))


def test_the_fast_and_the_plain_census_leaf_are_the_same() -> None:
    with (example.DATA / "manifest.jsonl").open("rb") as stream:
        reader = ManifestReader(stream)
        for _ in reader:
            pass
    assert reader.summary.census_root == reader.header.census.root


def test_the_tag_manifest_of_the_example_knows_the_manifest() -> None:
    listed = dict(
        reversed(line.split("  ")) for line in example.read("tagmanifest-sha256.partial.txt").decode().splitlines()
    )
    for name in ("bag-info.txt", "manifest-sha256.txt"):
        assert listed[name] == hashlib.sha256(example.read(name)).hexdigest()
    for name in ("checkpoint.txt", "manifest.jsonl"):
        assert listed[f"metadata/{name}"] == hashlib.sha256(example.read(name)).hexdigest()


@programs.needs("sha256sum")  # the stock commands of the document are those of Linux
def test_stock_tools_recompute_the_seal_and_a_leaf() -> None:
    def run(command: str) -> str:
        return subprocess.run(
            ["sh", "-c", command], cwd=example.DATA, capture_output=True, text=True, check=True
        ).stdout

    seal = json.loads(example.lines()[-1])["seal"]
    assert run("sed '$d' manifest.jsonl | sha256sum").split()[0] == seal["sha256"]
    leaf = run("{ printf '\\0'; sed -n 4p manifest.jsonl | tr -d '\\n'; } | sha256sum").split()[0]
    assert bytes.fromhex(leaf) == tree.leaf_hash(example.lines()[3])
    assert base64.b64decode(example.read("checkpoint.txt").split(b"\n")[2]).hex() == seal["root"]

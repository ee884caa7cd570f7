"""PROVEN needs every condition; each of them broken alone gives NOT PROVEN, its reason and its exit code."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import example
import pytest

from manifests.errors import SealError
from manifests.manifest import Summary, read_manifest
from manifests.verdict import Signature, judge, refuse


@pytest.fixture(scope="module")
def summary() -> Summary:
    return read_manifest(io.BytesIO(example.read("manifest.jsonl")))


def with_header(summary: Summary, **members: Any) -> Summary:
    return replace(summary, header=replace(summary.header, **members))


def with_census(summary: Summary, **members: Any) -> Summary:
    return with_header(summary, census=replace(summary.header.census, **members))


def test_the_example_is_proven_and_the_sentence_carries_the_zeros(summary: Summary) -> None:
    verdict = judge(summary)
    assert (verdict.proven, verdict.exit_code, verdict.reasons) == (True, 0, ())
    assert str(verdict) == (
        "PROVEN: 10 lines, 72 bytes, everything under s3://s3.example/cabinet; losses: 0; accepted skips: 0"
    )


@pytest.mark.parametrize(
    ("census", "reason"),
    [
        ({"lines": 11}, "10 lines where the census counted 11"),
        ({"kinds": {"object": 10}}, "kinds of lines differ"),
        ({"root": "ab" * 32}, "not the things which the census listed"),
        ({"bytes": 73}, "72 bytes where the census counted 73"),
    ],
)
def test_a_census_that_does_not_fit_is_not_proven(summary: Summary, census: dict[str, Any], reason: str) -> None:
    verdict = judge(with_census(summary, **census))
    assert (verdict.proven, verdict.exit_code, len(verdict.reasons)) == (False, 3, 1)
    assert reason in str(verdict)


def test_bytes_are_not_compared_when_the_source_did_not_state_every_size(summary: Summary) -> None:
    assert judge(with_census(summary, bytes=3, unsized=1)).proven


def test_zero_things_are_not_proven(summary: Summary) -> None:
    nothing = replace(summary, count=0, bytes=0, kinds={}, evidence={}, census_root="00")
    verdict = judge(with_census(nothing, lines=0, bytes=0, kinds={}, root="00"))
    assert (verdict.proven, verdict.exit_code, len(verdict.reasons)) == (False, 3, 1)


def test_only_skips_are_not_proven_even_when_each_is_accepted(summary: Summary) -> None:
    skips = replace(summary, count=2, bytes=0, kinds={"skipped": 2}, evidence={}, skipped={"fifo": 2})
    census = replace(summary.header.census, lines=2, bytes=0, kinds={"skipped": 2})
    verdict = judge(replace(skips, header=replace(summary.header, census=census, accepts=("fifo",))))
    assert (verdict.proven, verdict.exit_code, len(verdict.reasons)) == (False, 3, 1)


def test_a_skip_counts_against_the_verdict_unless_its_reason_was_accepted(summary: Summary) -> None:
    skipped = replace(
        summary, kinds={"object": 8, "delete_marker": 1, "skipped": 1}, evidence={"read": 9}, skipped={"fifo": 1}
    )
    skipped = with_census(skipped, kinds=skipped.kinds)
    verdict = judge(skipped)
    assert (verdict.proven, verdict.exit_code, verdict.reasons) == (
        False,
        3,
        ("skipped without being accepted: 1 fifo",),
    )
    accepted = judge(with_header(skipped, accepts=("fifo",)))
    assert accepted.proven
    assert "accepted skips: 1 fifo" in str(accepted)


@pytest.mark.parametrize(
    ("level", "demands", "proven"),
    [
        ("listed", "read", False),
        ("reported", "read", False),
        ("listed", "listed", True),
        ("read", "listed", True),
        ("none", "listed", False),
    ],
)
def test_every_line_must_reach_the_demanded_level(summary: Summary, level: str, demands: str, proven: bool) -> None:
    evidence = {"read": 9, level: 10 if level == "read" else 1}
    verdict = judge(summary, demands=demands, evidence=evidence)
    assert verdict.proven == proven
    assert verdict.exit_code == (0 if proven else 3)


def test_evidence_for_fewer_things_than_there_are_is_not_proven(summary: Summary) -> None:
    verdict = judge(summary, evidence={"read": 9})
    assert (verdict.proven, verdict.exit_code) == (False, 3)


def test_a_finding_is_exit_code_4_and_an_unchecked_thing_is_never_a_match(summary: Summary) -> None:
    assert (judge(summary, findings=1).proven, judge(summary, findings=1).exit_code) == (False, 4)
    assert (judge(summary, unchecked=1).proven, judge(summary, unchecked=1).exit_code) == (False, 3)


@pytest.mark.parametrize("signature", list(Signature))
@pytest.mark.parametrize("demanded", [False, True])
def test_a_demanded_signature_must_be_valid_and_by_the_expected_key(
    summary: Summary, signature: Signature, demanded: bool
) -> None:
    wrong = signature in {Signature.INVALID, Signature.OTHER_KEY} or (demanded and signature is not Signature.VALID)
    verdict = judge(summary, findings=1 if wrong else 0, signature=signature, signature_demanded=demanded)
    assert verdict.proven is not wrong
    assert verdict.exit_code == (6 if wrong else 0)


def test_losses_are_said_and_change_nothing(summary: Summary) -> None:
    verdict = judge(replace(summary, losses={"tags": 3, "acl": 1}))
    assert verdict.proven
    assert "losses: 1 acl, 3 tags" in str(verdict)


def test_a_selection_is_said(summary: Summary) -> None:
    assert 'only {"prefix":"labo/"}' in str(judge(with_header(summary, selection={"prefix": "labo/"})))


def test_damaged_evidence_is_exit_code_6() -> None:
    verdict = refuse(SealError("cut", file="manifest.jsonl", line=3, rule="3.6"))
    assert (verdict.proven, verdict.exit_code) == (False, 6)
    assert "line 3" in str(verdict)

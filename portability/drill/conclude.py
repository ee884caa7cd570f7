"""From what the steps left on disk to the drill's record: compared, counted, judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from manifests.canonical import time_of, time_text
from portability import __version__
from portability.archive.export import below
from portability.drill import drift, judge, leaving, listing, proof, record
from portability.drill.canary import Flock
from portability.drill.context import EVIDENCE, Context, turn_of
from portability.drill.record import Amount, Cover, Folder, Phase, Quote, Record, Sample, Scope, Throughput
from portability.drill.sampling import fewer_than
from portability.drill.state import State
from portability.rate import Rate

_PHASES = ("census", "export", "verify", "restore", "compare")


def seen(context: Context, state: State, last: Record | None) -> tuple[judge.Seen, tuple[Folder, ...]]:
    """Everything that was seen, and the folders; findings.csv is completed on the way. ManifestError, EvidenceError."""
    folder = context.folder(state)
    facts = listing.Facts(**(state.facts or {}))
    earlier = [one for one in context.drills.records() if one.source == context.job.source.url]
    base = _base(earlier, state, context.terms.baseline)
    told = proof.prove(context.archive(state), folder / EVIDENCE) if state.outcome else None
    drifted, folders = None, listing.folders(facts)
    with proof.FindingsFile(folder / record.FINDINGS) as out:
        proof.add_not_whole(folder, out)
        proof.add_restored(folder / EVIDENCE, out)
        if base is not None:
            result = drift.compare(
                context.terms.folder / base.id / listing.NAME,
                folder / listing.NAME,
                since=base.id,
                was=base.found,
                sha256=base.listing_sha256,
                found=out.add,
            )
            drifted, folders = result.drift, drift.with_changes(folders, result)
        flock = _canaries(context, state, out)
    started = time_of(state.started)
    return judge.Seen(
        facts=facts,
        accepted=context.accepted(state),
        verification=state.verification,
        outcome=state.outcome,
        proof=told,
        drift=drifted,
        allowed=context.terms.allowed(base.found.objects) if base else 0,
        canaries=flock.counts() if flock else None,
        last=last,
        in_future=last is not None and time_of(last.ended) > started,
        leaving=leaving.project(
            whole=listing.amount(facts.whole),
            moved=listing.amount(facts.moved),
            census_seconds=state.milliseconds.get("census", 0) / 1000,
            export_seconds=state.milliseconds.get("export", 0) / 1000,
            earlier=earlier,
            timetable=context.job.policy.bandwidth,
            now=started,
            terms=context.terms,
        ),
        unfinished=state.unfinished,
    ), folders


def _base(earlier: Sequence[Record], state: State, baseline: str) -> Record | None:
    """The drill to compare with: the last one; for a full drill the last full one, whose listing has every digest.

    Not one that found too much gone: the next would take that for normal, and the alarm would end by itself. Who names
    such a drill as `baseline` accepts what had disappeared until then.
    """
    known = [
        one
        for one in earlier
        if one.listing_sha256 and one.id >= baseline and (one.id == baseline or not judge.is_alarmed(one))
    ]
    full = [one for one in known if one.scope.kind == "full"]
    chosen = full if full and state.turn is None else known
    return chosen[-1] if chosen else None


def _canaries(context: Context, state: State, out: proof.FindingsFile) -> Flock | None:
    if context.aviary.newest is None:
        return None
    with (context.folder(state) / listing.NAME).open("rb") as stream:
        flock = proof.canaries_in(listing.read(stream, listing.NAME), context.aviary)
    for key, found in flock.states.items():
        if found != "intact":
            out.add(f"canary {found}", key)
    return flock


def write(context: Context, state: State, told: judge.Seen, folders: tuple[Folder, ...]) -> Record:
    """The record of what was seen."""
    found, facts, proved = judge.findings(told), told.facts, told.proof
    verdict = judge.verdict(told, found)
    done, asked = judge.proven(told), listing.amount(facts.asked)
    ended = max(context.now().astimezone(UTC), time_of(state.started)).replace(microsecond=0)
    every, selection = context.terms.every, context.job.selection.statement()
    return Record(
        id=state.id,
        job=context.job.name,
        tool=__version__,
        source=context.job.source.url,
        archive=context.archive(state).url,
        restored_to=below(context.terms.restore_to, state.scratch).url,
        started=state.started,
        ended=time_text(ended),
        next_due=time_text(ended + every) if every else "",
        verdict=verdict,
        scope=Scope(
            kind="sample" if state.turn else "full",
            sample=_sample(state, told, asked, done),
            selection=json.dumps(selection, ensure_ascii=False, sort_keys=True) if selection else "",
        ),
        found=listing.amount(facts.found),
        moved=listing.amount(facts.moved),
        proven=done,
        not_proven=Amount(objects=max(0, asked.objects - done.objects), bytes=max(0, asked.bytes - done.bytes)),
        skipped=facts.skipped,
        lost=proved.lost if proved else {},
        levels=proved.levels if proved else {},
        score=judge.score(told, milliseconds=sum(state.milliseconds.values())),
        phases=tuple(_phase(name, state, facts) for name in _PHASES if name in state.milliseconds),
        throughput=_throughput(state),
        folders=folders,
        drift=told.drift,
        findings=found,
        canaries=told.canaries,
        time_to_leave=told.leaving,
        quote=Quote.model_validate(state.quote),
        history=context.drills.chain(),
        root=proved.root if proved else "",
        manifest_sha256=proved.sha256 if proved else "",
        listing_sha256=facts.sha256,
        key=context.signer.public.fingerprint if context.signer else "",
    )


def _throughput(state: State) -> Throughput | None:
    rate = Rate(state.rate)
    told = rate.told()
    if not told:
        return None
    return Throughput(
        began=time_text(datetime.fromtimestamp(rate.began, UTC)),
        step_seconds=rate.step,
        objects=tuple(things for _, things in told),
        bytes=tuple(octets for octets, _ in told),
    )


def _phase(name: str, state: State, facts: listing.Facts) -> Phase:
    told = listing.amount(facts.found if name == "census" else facts.moved)
    return Phase(name=name, milliseconds=state.milliseconds[name], objects=told.objects, bytes=told.bytes)  # type: ignore[arg-type]  # one of the five


def _sample(state: State, told: judge.Seen, asked: Amount, done: Amount) -> Sample | None:
    turn, facts = turn_of(state), told.facts
    if turn is None:
        return None
    # A thing that was not proven counts as a damaged key; several may share one, so that the bound is never too small.
    damaged = min(facts.drawn, max(0, asked.objects - done.objects))
    return Sample(
        share_ppm=turn.share,
        seed=turn.seed,
        drawn=facts.drawn,
        of=facts.keys,
        damaged=damaged,
        fewer_than=fewer_than(facts.keys, facts.drawn, damaged),
        cover=Cover(
            drills=turn.number,
            of_drills=turn.of_drills,
            covered=max(0, facts.covered - damaged),
            of=facts.keys,
        ),
    )

"""The manual of one job (manuel d'exploitation): what to run, when, with which references, and what each verdict means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connectors import Location
from manifests import canonical
from portability.drill.schedule import ALTERNATIVES, needs, variables
from portability.errors import UsageError
from portability.job import Job
from portability.job_file import load
from portability.report.language import N_
from portability.report.shown import place


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A place of the job; credentials by reference only."""

    url: str
    reference: str
    variables: tuple[str, ...] = ()
    """Names of variables of the environment."""
    local: bool = False
    """Whether it is a folder of this machine, which takes none."""
    some: bool = False
    """Whether some of them are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """What the manual says of a job file."""

    job: str
    """Its name."""
    file: str
    """Name of the job file."""
    tool: str
    made: str
    """RFC 3339."""
    source: Side
    destination: Side | None = None
    evidence: str = ""
    selection: str = ""
    demands: str = "read"
    accepts: tuple[str, ...] = ()
    bandwidth: bool = False
    until: str = ""
    scratch: Side | None = None
    restore_to: Side | None = None
    folder: str = ""
    """Where the drills are remembered."""
    every: int | None = None
    """Days between two drills."""
    sample: float | None = None
    """Percent."""
    notify: bool = False
    sign: str = ""
    """Reference to the key that signs drills."""
    passphrase: str = ""
    """Reference to its passphrase."""
    environment: bool = False
    """Whether a timer needs a file of variables."""


EXIT_CODES: Mapping[int, tuple[str, str]] = {
    0: (N_("Done. Where a verdict was asked for: PROVEN."), N_("Copy the root value on paper, keep the evidence, go on.")),
    1: (N_("A bug in the program."), N_("Run the command again with -vv and send the trace to the contractor. Nothing is proven.")),
    2: (N_("Wrong usage: nothing was contacted or changed."), N_("Correct the command or the job file as the message says.")),
    3: (N_("Finished, but something failed, was refused or is not proven."), N_("Make the report, mend what it names, run the same command again. Close no account.")),
    4: (N_("Verification found differences."), N_("Tell the practice and the host at once. Erase nothing. Make the report with --details.")),
    5: (N_("A place could not be opened."), N_("Check network, url and credentials, then run the same command again. If it stays so: call the host.")),
    6: (N_("Evidence is damaged, or not signed as demanded."), N_("Do not rely on this copy. Fetch the other copy of the evidence, and compare root value and fingerprint with paper.")),
    130: (N_("Interrupted."), N_("Run the same command again: it goes on where it stopped.")),
}  # fmt: skip
"""What each means, and what to do; the same codes as `portability.errors.EXIT_CODES`."""

_REFERENCES: Mapping[str, str] = {
    "": N_("none: the usual chain of the system (profile, ssh-agent, default keys)"),
    "env": N_("variables of the environment"),
    "profile": N_("a profile of the AWS configuration"),
    "file": N_("a file that only the operator can read"),
    "agent": N_("ssh-agent"),
    "keyring": N_("the system's keyring"),
    "prompt": N_("asked for at the start"),
    "anonymous": N_("no credentials"),
}


def reference_kind(reference: str) -> str:
    """Where a secret is, as a text of the catalogue."""
    return _REFERENCES.get(reference.partition(":")[0], reference)


def read(path: Path, *, tool: str, made: str) -> Runbook:
    """What the manual of this job file says. UsageError for a file that is no job."""
    try:
        job, moves = load(path), True
    except UsageError as error:
        try:
            job, moves = load(path, drill=True), False
        except UsageError:
            raise error from None  # neither a migration nor a drill, or no job at all: the first answer says it
    drill = job.drill
    return Runbook(
        job=job.name,
        file=path.name,
        tool=tool,
        made=made,
        source=_side(job.source),
        destination=_side(job.destination) if moves else None,
        evidence=job.evidence.name if moves else "",
        selection=_selection(job),
        demands=job.demands,
        accepts=job.accepts,
        bandwidth=bool(job.policy.bandwidth.slots),
        until=job.policy.until or "",
        scratch=_side(drill.scratch) if drill else None,
        restore_to=_side(drill.restore_to) if drill else None,
        folder=drill.folder.name if drill else "",
        every=drill.every.days if drill and drill.every else None,
        sample=drill.sample / 10_000 if drill and drill.sample else None,
        notify=bool(drill and drill.notify),
        sign=_beside(path, drill.sign) if drill and drill.sign else "",
        passphrase=(drill.passphrase or "") if drill else "",
        environment=bool(drill and needs(job, drill).lines),
    )


def _beside(path: Path, key: str) -> str:
    """A key by its name where it lies beside the job file: the manual is for other machines too."""
    return Path(key).name if Path(key).parent == path.absolute().parent else key


def _selection(job: Job) -> str:
    told = job.selection.statement()
    return canonical.dumps(told).decode() if told else ""


def _side(location: Location) -> Side:
    return Side(
        url=place(location.url),
        reference=location.credentials or "",
        variables=variables(location),
        local=location.scheme == "file",
        some=location.scheme in ALTERNATIVES,
    )

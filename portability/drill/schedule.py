"""What a scheduler needs to start drills: systemd units, a cron line, a Windows task; made as text, installed by a person.

Each looks once a day whether a drill is due (`--if-due`): a machine that was off on the day catches up, and a drill that
was interrupted goes on the next day. No scheduler counts ninety days by itself across restarts. A timer has nobody's
environment: what the references of a job name comes from one file that only its owner can read.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import time as clock_time
from xml.sax.saxutils import escape

from connectors import Location
from portability.job import Job
from portability.job_drill import DrillTerms

VARIABLES = {
    "s3": ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"),
    "sftp": ("PASSWORD", "KEY_FILE", "PASSPHRASE"),
}
"""What `env:PREFIX` of a place of this kind looks for, after the prefix and an underscore."""
ALTERNATIVES = frozenset({"sftp"})
"""Kinds of places that need some of these only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    name: str
    """Of the unit and of the task."""
    service: str
    timer: str
    cron: str
    task: str
    """XML for `schtasks /Create /XML`."""
    task_command: str
    environment: str = ""
    """What stands in the file of variables, to be filled in; empty: the job needs none."""
    environment_file: str = ""
    """Its path, beside the job file."""
    variables: tuple[str, ...] = ()
    unattended: tuple[str, ...] = ()
    """What a timer cannot answer, as sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a job takes from whoever starts it."""

    lines: tuple[str, ...] = ()
    """`NAME=''`, one for each variable; in a comment where another one may do as well."""
    variables: tuple[str, ...] = ()
    unattended: tuple[str, ...] = ()


def variables(place: Location) -> tuple[str, ...]:
    """Names of variables in which the credentials of this place may stand."""
    kind, _, prefix = (place.credentials or "").partition(":")
    return tuple(f"{prefix}_{name}" for name in VARIABLES.get(place.scheme, ())) if kind == "env" else ()


def needs(job: Job, terms: DrillTerms) -> Needs:
    """The variables of a drill of this job, and what nobody is there to answer."""
    lines: dict[str, None] = {}
    names: dict[str, None] = {}
    places = {"source": job.source, "scratch": terms.scratch, "restore_to": terms.restore_to}
    for place in places.values():
        some = place.scheme in ALTERNATIVES
        if some and variables(place):
            lines[f"# of these as many as {place.scheme} needs there:"] = None
        for name in variables(place):
            lines[f"{'# ' if some else ''}{name}=''"] = names[name] = None
    if terms.passphrase and terms.passphrase.startswith("env:"):
        name = terms.passphrase.removeprefix("env:")
        lines[f"{name}=''"] = names[name] = None
    return Needs(lines=tuple(lines), variables=tuple(names), unattended=tuple(_unattended(places, terms)))


def _unattended(places: dict[str, Location], terms: DrillTerms) -> Iterator[str]:
    for name, place in places.items():
        if place.credentials == "prompt":
            yield f"the credentials of {name} are asked for (prompt): give it another reference, such as env: or keyring:"
        if place.credentials == "agent":
            yield f"the credentials of {name} are in ssh-agent, which a timer does not reach: give it env: or file:"
    if terms.sign and not terms.passphrase:
        yield 'a signing key with a passphrase asks for it: write passphrase = "env:…" in [drill]'


def schedule(
    command: Sequence[str], *, job: str, at: clock_time, folder: str, start: datetime, needed: Needs | None = None
) -> Schedule:
    """The texts for this command line, run in `folder` at this time of day."""
    needed = needed or Needs()
    name = "portability-drill-" + (re.sub(r"[^A-Za-z0-9_.-]+", "-", job).strip("-.") or "job")
    clock = f"{at:%H:%M}"
    words = " ".join(map(_systemd, command))
    file = f"{folder.rstrip('/')}/{name}.env" if needed.lines else ""
    environment = f"EnvironmentFile={_specifiers(file)}\n" if file else ""
    service = f"""[Unit]
Description=Exit drill of {_line(job)}, when it is due
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={_specifiers(folder)}
{environment}ExecStart={words}
Nice=10
IOSchedulingClass=idle
UMask=0077
NoNewPrivileges=true
"""
    timer = f"""[Unit]
Description=Look every day whether the exit drill of {_line(job)} is due

[Timer]
OnCalendar=*-*-* {clock}:00
RandomizedDelaySec=10min
Persistent=true

[Install]
WantedBy=timers.target
"""
    line = shlex.join(command).replace("%", r"\%")
    given = f"set -a && . {shlex.quote(f'./{name}.env')} && set +a && " if file else ""
    cron = f"{at.minute} {at.hour} * * * cd {shlex.quote(folder)} && {given}{line}".replace("\n", " ")
    arguments = subprocess.list2cmdline(command[1:])
    task = f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{escape(f"Exit drill of {_line(job)}, when it is due")}</Description>
  </RegistrationInfo>
  <Triggers>
    <CalendarTrigger>
      <StartBoundary>{start:%Y-%m-%d}T{clock}:00</StartBoundary>
      <Enabled>true</Enabled>
      <ScheduleByDay><DaysInterval>1</DaysInterval></ScheduleByDay>
    </CalendarTrigger>
  </Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>true</RunOnlyIfNetworkAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(command[0])}</Command>
      <Arguments>{escape(arguments)}</Arguments>
      <WorkingDirectory>{escape(folder)}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""
    return Schedule(
        name=name,
        service=service,
        timer=timer,
        cron=cron,
        task=task,
        task_command=f'schtasks /Create /TN "{name}" /XML "{name}.xml" /RU "%USERNAME%" /RP *',
        environment="".join(f"{one}\n" for one in needed.lines),
        environment_file=file,
        variables=needed.variables,
        unattended=needed.unattended,
    )


def _specifiers(text: str) -> str:
    """A path in a unit, in which nothing is expanded."""
    return text.replace("%", "%%")


def _line(text: str) -> str:
    """One line, which systemd does not expand."""
    return " ".join(text.split()).replace("%", "%%")


def _systemd(word: str) -> str:
    """A word of ExecStart: quoted as systemd.service(5) has it, nothing in it expanded."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    return plain if re.fullmatch(r"[\w./:=@+,-]+", plain) else f'"{plain}"'

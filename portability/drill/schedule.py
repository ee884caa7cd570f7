"""What a scheduler needs to start drills: systemd units, a cron line, a Windows task; made as text, installed by a person.

Each looks once a day whether a drill is due (`--if-due`): a machine that was off on the day catches up, and a drill that
was interrupted goes on the next day. No scheduler counts ninety days by itself across restarts.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import time as clock_time
from xml.sax.saxutils import escape


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


def schedule(command: Sequence[str], *, job: str, at: clock_time, folder: str, start: datetime) -> Schedule:
    """The texts for this command line, run in `folder` at this time of day."""
    name = "portability-drill-" + (re.sub(r"[^A-Za-z0-9_.-]+", "-", job).strip("-.") or "job")
    clock = f"{at:%H:%M}"
    words = " ".join(map(_systemd, command))
    service = f"""[Unit]
Description=Exit drill of {_line(job)}, when it is due
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder.replace("%", "%%")}
ExecStart={words}
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
    cron = f"{at.minute} {at.hour} * * * cd {shlex.quote(folder)} && {line}".replace("\n", " ")
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
        task_command=f'schtasks /Create /TN "{name}" /XML {name}.xml',
    )


def _line(text: str) -> str:
    """One line, which systemd does not expand."""
    return " ".join(text.split()).replace("%", "%%")


def _systemd(word: str) -> str:
    """A word of ExecStart: quoted as systemd.service(5) has it, nothing in it expanded."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    return plain if re.fullmatch(r"[\w./:=@+,-]+", plain) else f'"{plain}"'

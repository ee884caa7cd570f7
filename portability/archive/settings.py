"""The settings of the host that was exported, put back at the place of a restore: each of them ends with a word of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from connectors import ConnectorError, Location, Settable, Setting, UnavailableError, connect
from manifests.files import write_private
from portability.errors import PlaceError, UsageError
from portability.job import Job, Policy
from portability.links import link, unlink
from portability.outcome import SettingEnd
from portability.tasks import Work
from portability.trying import retrying

NAME = "settings.json"
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What an archive records of its host's settings, and the place that is to be given them."""

    to: Location
    wanted: tuple[Setting, ...]
    policy: Policy
    merge: bool = False

    def before(self) -> list[SettingEnd]:
        """Put what has to be there before the first thing is."""
        return [self._put(one) for one in self.wanted if one.first or self._reason(one)]

    def after(self, *, proven: bool) -> list[SettingEnd]:
        """Put the rest; what waits for a proof is not put without one."""
        rest = [one for one in self.wanted if not one.first and not self._reason(one)]
        if proven:
            return [self._put(one) for one in rest]
        reason = "it is set only when the restore is proven: run the same command again"
        return [_lost(one, reason) for one in rest]

    def looked_at(self) -> list[SettingEnd]:
        """What would be put, and what not; nothing is."""
        return [self._put(one, dry=True) for one in self.wanted]

    def _put(self, setting: Setting, *, dry: bool = False) -> SettingEnd:
        if reason := self._reason(setting):
            return _lost(setting, reason)
        try:
            state = self._tried(lambda host: host.compare_setting(setting))
            if state == "equal":
                return SettingEnd(name=setting.name, end="there")
            if state == "other":
                return _lost(setting, "the destination has one of its own, which was left alone")
            if dry:
                when = "first, though the plan is of the place as it is now" if setting.first else "when all is proven"
                return SettingEnd(name=setting.name, end="wanted", reason=when)
            self._tried(lambda host: host.put_setting(setting))
            unlink(self.to)  # what a connector has learned of its place may not be so any more
            self._tried(lambda host: _read_back(host, setting))
        except ConnectorError as error:
            return _lost(setting, str(error))
        return SettingEnd(name=setting.name, end="applied")

    def _reason(self, setting: Setting) -> str:
        if setting.acts and self.merge:
            return "the place holds other things (--merge), on which it would act as well; set it by hand"
        return setting.refused

    def _tried(self, ask: Callable[[Settable], _Result]) -> _Result:
        return retrying(lambda: ask(link(self.to)), Work(retries=self.policy.retries), (self.to,))


def host_settings(job: Job) -> HostSettings:
    """Those of the archive that is this job's source. The connectors' errors pass."""
    reader = connect(job.source)
    try:
        recorded = reader.settings()
    finally:
        reader.close()
    wanted = tuple(link(job.destination).fit_settings(recorded))
    return HostSettings(to=job.destination, wanted=wanted, policy=job.policy, merge=job.merge)


def check_settable(to: Location) -> None:
    """UsageError where that kind of place has no settings to put."""
    if not isinstance(link(to), Settable):
        raise UsageError(
            f"--apply settings: {to.scheme} places have none to set",
            hint="leave it out: metadata/source.json in the archive keeps them",
        )


def ends(found: Iterable[SettingEnd]) -> tuple[SettingEnd, ...]:
    """One for each name: the last word about it."""
    return tuple({one.name: one for one in found}.values())


def record(evidence: Path, settings: HostSettings, ended: Iterable[SettingEnd]) -> None:
    """Write how each one ended, with its value, where the restore has its evidence."""
    values = {one.name: one.value for one in settings.wanted}
    told = {
        "destination": settings.to.url,
        "settings": [
            {"name": one.name, "end": one.end, "reason": one.reason, "value": values[one.name]} for one in ended
        ],
    }
    path = evidence / NAME
    try:
        write_private(path, (json.dumps(told, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode())
    except OSError as error:
        raise PlaceError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="make room or rights there, then run the same command again",
        ) from error


def _read_back(host: Settable, setting: Setting) -> None:
    if host.compare_setting(setting) != "equal":
        raise UnavailableError("the host acknowledged it, and does not have it")  # asked again: some take their time


def _lost(setting: Setting, reason: str) -> SettingEnd:
    return SettingEnd(name=setting.name, end="lost", reason=reason)

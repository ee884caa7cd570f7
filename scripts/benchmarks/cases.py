"""The cases of the scoreboard: a route, a load, a level of evidence, the peers, and the goal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

ROUTES: Mapping[str, tuple[str, str]] = {
    "s3-s3": ("s3", "s3"),
    "local-s3": ("local", "s3"),
    "s3-local": ("s3", "local"),
    "sftp-get": ("sftp", "local"),
    "sftp-put": ("local", "sftp"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the scoreboard. Goals are ours by the best peer's: wall time and client CPU; None where none was set."""

    route: str
    load: str
    level: str
    peers: tuple[str, ...]
    wall: float | None
    cpu: float | None = None
    latency: float = 0
    """Milliseconds that a round trip takes."""

    def over(self, latency: float) -> Case:
        """The same over a long line, where the goal is another."""
        return replace(self, latency=latency, wall=0.8 if self.load == "small" else None, cpu=None) if latency else self

    def __str__(self) -> str:
        return f"{self.route} {self.load}, {self.level}" + (f", {self.latency:g} ms away" if self.latency else "")


def _case(route: str, load: str, level: str, peers: str, wall: float | None, cpu: float | None = None) -> Case:
    return Case(route=route, load=load, level=level, peers=tuple(peers.split(", ")), wall=wall, cpu=cpu)


CASES = (
    _case("s3-s3", "small", "read", "rclone", 0.40, 0.35),
    _case("local-s3", "small", "read", "rclone", 1.0),
    _case("s3-local", "small", "read", "rclone", 1.0),
    _case("sftp-get", "small", "read", "rclone", 1.0),
    _case("sftp-put", "small", "read", "rclone", 1.0),
    _case("s3-s3", "large", "read", "rclone", 0.60, 0.60),
    _case("local-s3", "large", "read", "rclone", 1.0),
    _case("s3-local", "large", "read", "rclone", 1.0),
    _case("sftp-get", "large", "read", "rclone", 1.0),
    _case("sftp-put", "large", "read", "rclone", 1.0),
    _case("local-s3", "small", "copy", "rclone, s5cmd", 0.65, 0.60),
    _case("s3-local", "small", "copy", "rclone, s5cmd", 0.65, 0.60),
    _case("sftp-get", "small", "copy", "rclone, sftp -r", 0.45, 0.5),
    _case("sftp-put", "small", "copy", "rclone, sftp -r", 0.45, 0.5),
    _case("local-s3", "large", "copy", "s5cmd", 0.85, 0.85),
    _case("s3-local", "large", "copy", "rclone + hashsum", 1.0, 1.1),
    _case("sftp-get", "large", "copy", "rclone", 1.1),
    _case("sftp-put", "large", "copy", "rclone", 1.8),
)

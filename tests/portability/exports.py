"""What the tests of archives share: exports of the synthetic practice, a key that signs, and exports that die on request."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import archives
import pyrage

from connectors import Location
from manifests import signing
from portability.archive.export import Export, export
from portability.archive.restore import Restore, restore
from portability.job import Policy
from portability.outcome import Outcome

ONE = Policy(workers=1, retries=1)
CLOSING = "close the archive"
_STEPS = frozenset({"os.rename", "os.link", "os.remove", "os.rmdir", "http.client.send"})


class Key:
    """The key of the worked example, as who signs."""

    public = signing.public_key(archives.key())

    def sign(self, message: bytes, namespace: str) -> bytes:
        return signing.sign(archives.key(), io.BytesIO(message), namespace)


def a_folder(path: Path, **files: bytes) -> Location:
    """A place with these files, or with two small ones; "__" in a name stands for a slash, "_" for a dot."""
    for name, data in (files or {"a_txt": b"a", "b__c_txt": b"c"}).items():
        file = path / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return Location.parse(str(path))


def an_export(source: Location, to: Location | Path, **changes: Any) -> Outcome:
    place = Location.parse(str(to)) if isinstance(to, Path) else to
    return export(Export(**{"source": source, "to": place, "policy": ONE, "signer": Key(), **changes}))


def an_archive(source: Location, to: Path, **changes: Any) -> Path:
    """The folder of an archive that was proven."""
    outcome = an_export(source, to, **changes)
    assert outcome.proven, outcome.reasons
    return Path(outcome.evidence)


def bring_back(archive: Path, to: Location, evidence: Path, **changes: Any) -> Outcome:
    place = Location.parse(str(archive))
    return restore(Restore(**{"archive": place, "to": to, "evidence": evidence, "policy": ONE, **changes}))


def an_identity(path: Path) -> str:
    """A new age identity in this file; its recipient."""
    identity = pyrage.x25519.Identity.generate()
    path.write_text(f"# a comment, as age-keygen writes one\n{identity}\n", "ascii")
    path.chmod(0o600)
    return str(identity.to_public())


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, files with their bytes."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


# -- exports that die -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    """0 proven; minus the number of a signal; 1 with the error in `said`."""
    points: int
    said: str


class Killer:
    """Starts exports in forks of a process that has imported everything; see the module."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._result = server, folder / "result.json"

    def run(self, source: Path, to: Path, *, phase: str = CLOSING, at: int = 0, **changes: Any) -> Ended:
        """Export, killed at the `at`-th change of a file in or after this phase; 0: not killed."""
        order = {"source": str(source), "to": str(to), "phase": phase, "at": at, "changes": changes}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({**order, "result": str(self._result)}) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        told = json.loads(self._result.read_text("utf-8")) if self._result.exists() else {"points": 0, "said": ""}
        self._result.unlink(missing_ok=True)
        return Ended(code=code, points=told["points"], said=told["said"])


@contextlib.contextmanager
def killer(folder: Path) -> Iterator[Killer]:
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(archives.__file__).parent)},
    )
    try:
        yield Killer(server, folder)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(60)
        assert server.stdout is not None
        server.stdout.close()


class _Points:
    """Counts changes of files from a phase on, and dies at the one that was ordered."""

    def __init__(self, phase: str, at: int) -> None:
        self._phase, self._at, self._on = phase, at, False
        self.count = 0

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event in _STEPS:
            self.count += 1
            if self.count == self._at:
                os.kill(os.getpid(), signal.SIGKILL)

    def phase(self, name: str, items: int | None = None, size: int | None = None) -> None:
        self._on = self._on or name == self._phase

    def step(self, items: int = 0, size: int = 0) -> None: ...

    def note(self, text: str) -> None: ...

    def done(self) -> None: ...


def _run(order: dict[str, Any]) -> int:
    points = _Points(order["phase"], order["at"])
    sys.addaudithook(points.audit)
    changes = order["changes"]
    changes["recipients"] = tuple(changes.get("recipients", ()))
    said, code = "", 1
    try:
        outcome = export(
            Export(
                source=Location.parse(order["source"]),
                to=Location.parse(order["to"]),
                policy=ONE,
                signer=Key(),
                **{name: Path(value) if name == "history" else value for name, value in changes.items()},
            ),
            progress=points,
        )
        code, said = outcome.exit_code, outcome.evidence
    except BaseException as error:
        said = repr(error)
    Path(order["result"]).write_text(json.dumps({"points": points.count, "said": said}), "utf-8")
    return code


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()

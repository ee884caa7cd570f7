"""Archives verified wherever they are: a folder, a tar or zip read in place, or a place at a host."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from connectors import ConnectorError, Location
from portability.archive.verifier import ENCRYPTED, VerifierResult, verify_tree
from portability.archive.verifier_tree import LocalTree, Tree
from portability.errors import PlaceError, UsageError


@contextmanager
def _tree(archive: Location) -> Iterator[Tree]:
    """What the verifier looks at: a folder, a tar or zip read in place, or a place at a host. PlaceError, EvidenceError."""
    if archive.scheme != "file":
        from portability.archive.remote import ConnectorTree  # late, like all below: a folder needs none of it

        remote = ConnectorTree(archive)
        try:
            yield remote
        finally:
            remote.close()
        return
    path = Path(archive.path)
    if path.is_file():
        from portability.archive.transport import PackedTree

        with PackedTree(path) as packed:
            yield packed
        return
    if not path.is_dir():
        raise PlaceError(
            f"{path}: there is nothing there", hint="name the folder that holds bagit.txt, or a tar or zip"
        )
    yield LocalTree(path)


def verify_archive(
    archive: Location,
    *,
    signer: str | None = None,
    bases: tuple[Location, ...] = (),
    identity: str | None = None,
    workers: int | None = None,
    sink: Callable[[Any], None] | None = None,
) -> VerifierResult:
    """The strict verification of section 11, of a folder, a tar or zip, or a place at a host."""
    decrypt = partial(_decrypt, identity) if identity else None
    with ExitStack() as stack:
        tree, *others = [stack.enter_context(_tree(one)) for one in (archive, *bases)]
        if identity:
            _check_identity(tree, identity)
        return verify_tree(tree, signer=signer, bases=others, decrypt=decrypt, workers=workers, sink=sink)


def _check_identity(tree: Tree, identity: str) -> None:
    """UsageError if the key is another's: that is the caller's mistake, not the archive's damage."""
    from portability.archive.encryption import WrongKeyError, decrypted, identities

    identities(identity)
    try:
        sealed = tree.open(ENCRYPTED)
    except OSError:
        return  # nothing to decrypt, or nothing to be had: the verification names it
    body = decrypted(sealed, identity, host="the archive", key=ENCRYPTED)
    try:
        body.read(1)
    except WrongKeyError as error:
        raise UsageError(
            f"{ENCRYPTED} is encrypted to another key than the one in {identity}",
            hint="metadata/recipients.txt in the archive holds the public keys; age-keygen -y FILE prints that of yours",
        ) from error
    except ConnectorError:
        return  # a damaged ciphertext: the verification names it
    finally:
        body.close()


def _decrypt(identity: str, body: Any) -> Any:
    from portability.archive.encryption import decrypted
    from portability.archive.remote import Raw

    return io.BufferedReader(Raw(decrypted(body, identity, host="the archive", key="")), 1 << 20)

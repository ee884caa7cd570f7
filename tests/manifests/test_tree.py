"""The tree is the one of RFC 6962, and a proof proves one line only."""

from __future__ import annotations

import hashlib

import pytest

from manifests import tree
from manifests.errors import FormatError


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])).digest()


# The test vectors of the certificate transparency implementations for RFC 6962.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_small_trees_are_the_published_ones(size: int) -> None:
    root = tree.Root()
    for leaf in LEAVES[:size]:
        root.add(leaf)
    assert root.digest().hex() == ROOTS[size]
    assert root.count == size


def test_the_streaming_root_equals_the_recursive_one_and_every_proof_holds() -> None:
    leaves = [f"leaf {number}".encode() for number in range(129)]
    hashes = [tree.leaf_hash(leaf) for leaf in leaves]
    root = tree.Root()
    for size in range(1, 130):
        root.add(leaves[size - 1])
        digest = root.digest()
        assert digest == recursive_root(leaves[:size])
        for index in range(size):
            path = tree.inclusion_path(index, size, hashes)
            assert tree.is_included(hashes[index], index, size, path, digest)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 64, 65])
def test_a_proof_of_something_else_is_refused(size: int) -> None:
    hashes = [tree.leaf_hash(bytes([number])) for number in range(size)]
    root = tree.Root()
    for node in hashes:
        root.add_hash(node)
    digest, other = root.digest(), tree.leaf_hash(b"other")
    for index in range(size):
        path = tree.inclusion_path(index, size, hashes)
        assert not tree.is_included(other, index, size, path, digest)
        assert not tree.is_included(hashes[index], index, size, path, other)
        assert not tree.is_included(hashes[index], index, size, [*path, other], digest)
        assert not tree.is_included(hashes[index], -1, size, path, digest)
        assert not tree.is_included(hashes[index], size, size, path, digest)
        if size > 1:
            assert not tree.is_included(hashes[index], index, size, path[:-1], digest)
            assert not tree.is_included(hashes[index], (index + 1) % size, size, path, digest)
            assert not tree.is_included(hashes[index], index, size, [other, *path[1:]], digest)
    with pytest.raises(IndexError):
        tree.inclusion_path(size, size, hashes)


def test_a_checkpoint_is_three_lines_and_nothing_else() -> None:
    checkpoint = tree.Checkpoint(job="urn:uuid:7d1b6c1e-0d8f-4d0e-9a55-3f1f2b6f9c11", count=10, root="ab" * 32)
    data = checkpoint.to_bytes()
    assert tree.Checkpoint.from_bytes(data) == checkpoint
    for wrong in (
        data[:-1],
        data + b"\n",
        data.replace(b"\n10\n", b"\n010\n"),
        data.replace(b"\n10\n", b"\n-1\n"),
        data.replace(b"\n", b"\r\n"),
        data.replace(b"=", b""),
        b"other/" + data,
        b"",
        b"\xff",
    ):
        with pytest.raises(FormatError):
            tree.Checkpoint.from_bytes(wrong)


def test_a_proof_with_other_members_or_size_is_refused() -> None:
    leaves = [b"a", b"b", b"c"]
    root = tree.Root()
    for leaf in leaves:
        root.add(leaf)
    path = tree.inclusion_path(1, 3, [tree.leaf_hash(leaf) for leaf in leaves])
    proof = tree.Proof(index=1, line=b"b", path=tuple(node.hex() for node in path), size=3)
    checkpoint = tree.Checkpoint(job="urn:uuid:x", count=3, root=root.digest().hex())
    assert proof.holds(checkpoint)
    assert not proof.holds(tree.Checkpoint(job="urn:uuid:x", count=4, root=root.digest().hex()))
    data = proof.to_bytes()
    for wrong in (
        data.replace(b"proof/1", b"proof/2"),
        data.replace(b'"index":1', b'"index":true'),
        data.replace(b'"size":3}', b'"size":3,"z":1}'),
        data + b"\n",
    ):
        with pytest.raises(FormatError):
            tree.Proof.from_bytes(wrong)

"""The files that every archive carries unchanged: its BagIt declaration, its BagIt profile, the schema of its manifest."""

from __future__ import annotations

from importlib.resources import files


def declaration() -> bytes:
    """bagit.txt (RFC 8493, section 2.1.1)."""
    return b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def manifest_schema() -> bytes:
    """JSON Schema of the three line types of a manifest, each member explained."""
    return files(__package__).joinpath("manifest.schema.json").read_bytes()


def bagit_profile() -> bytes:
    """The profile as the BagIt Profiles specification writes it: 1.0 only, SHA-256 in both lists, no fetch.txt."""
    return files(__package__).joinpath("bagit-profile.json").read_bytes()

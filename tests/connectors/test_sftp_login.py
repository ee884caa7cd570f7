"""Who the server is and who we are: host keys and logins of the SFTP host."""

import subprocess
from dataclasses import replace

import paramiko
import pytest
import servers

from connectors.errors import ConnectorError, PermissionDeniedError
from connectors.registry import connect


@pytest.fixture(params=["auto", "paramiko"])
def location(sshd, request):
    """With the ssh program in the way, the same is said as without."""
    place = sshd.place()
    return replace(place, options={**place.options, "transport": request.param})


def refused(location, error=PermissionDeniedError):
    with pytest.raises(error) as caught:
        connect(location)
    assert caught.value.host == location.url
    assert not caught.value.retryable
    return str(caught.value)


def with_known(location, path):
    return replace(location, options={**location.options, "known_hosts": str(path)})


def opens(location):
    connect(location).close()
    return True


def keygen(*arguments):
    done = subprocess.run(
        [servers.program("ssh-keygen"), *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return done.stdout


def test_an_unknown_host_key_is_refused_with_the_line_that_makes_it_known(sshd, location, tmp_path):
    known = tmp_path / "known"
    said = refused(with_known(location, known))
    fingerprint = keygen("-l", "-f", sshd.known_hosts).split()[1]
    assert fingerprint.startswith("SHA256:")
    assert fingerprint in said
    assert f"add this line to {known}" in said
    line = said[said.index("[127.0.0.1]") :].rpartition("to ")[2].rpartition(": ")[2]
    known.write_text(line + "\n")
    assert known.read_text() == sshd.known_hosts.read_text()
    assert opens(with_known(location, known))


def test_a_changed_host_key_is_refused_with_both_fingerprints(sshd, location, tmp_path):
    servers.make_key(tmp_path / "other")
    known = servers.write_known_hosts(tmp_path / "known", sshd.port, tmp_path / "other")
    said = refused(with_known(location, known))
    assert "CHANGED" in said
    for path in (sshd.known_hosts, known):
        assert keygen("-l", "-f", path).split()[1] in said


def test_a_key_of_another_kind_does_not_pass_for_the_known_one(location, sshd, tmp_path):
    other = paramiko.ECDSAKey.generate()
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other.get_name()} {other.get_base64()}\n")
    assert "CHANGED" in refused(with_known(location, known))


def test_hashed_names_patterns_and_lists_are_understood(sshd, location, tmp_path):
    kind, blob = sshd.known_hosts.read_text().split()[1:3]
    hashed = tmp_path / "hashed"
    hashed.write_text(sshd.known_hosts.read_text())
    keygen("-H", "-f", hashed)
    assert hashed.read_text().startswith("|1|")
    assert opens(with_known(location, hashed))
    known = tmp_path / "known"
    for names in (f"other,[127.0.0.1]:{sshd.port}", f"[127.0.0.*]:{sshd.port}", "*"):
        known.write_text(f"# a comment\n\n{names} {kind} {blob} operator\n")
        assert opens(with_known(location, known))
    for names in ("127.0.0.1", f"*,![127.0.0.1]:{sshd.port}", f"@cert-authority [127.0.0.1]:{sshd.port}"):
        known.write_text(f"{names} {kind} {blob}\n")
        assert "not known" in refused(with_known(location, known))


def test_a_revoked_host_key_is_refused_though_it_is_known(sshd, location, tmp_path):
    known = tmp_path / "known"
    known.write_text(sshd.known_hosts.read_text() + f"@revoked {sshd.known_hosts.read_text()}")
    assert "revoked" in refused(with_known(location, known))


def test_the_persons_own_known_hosts_are_the_default(sshd, location, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    plain = replace(location, options={"transport": location.option("transport")})
    assert str(tmp_path / ".ssh" / "known_hosts") in refused(plain)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(sshd.known_hosts.read_text())
    assert opens(plain)


def test_a_wrong_password_is_refused_and_not_shown(rclone_sftp, monkeypatch):
    monkeypatch.setenv("WRONG_PASSWORD", "not-the-password")
    said = refused(replace(rclone_sftp.place(), credentials="env:WRONG"))
    assert "login" in said
    assert "not-the-password" not in said


def test_a_login_without_any_key_says_so(location, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert "no agent and no key" in refused(replace(location, credentials=None))


def test_the_default_key_of_the_person_is_used(sshd, location, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_bytes(sshd.key_file.read_bytes())
    assert opens(replace(location, credentials=None))


def test_a_key_with_a_passphrase_needs_it(sshd, location, tmp_path, monkeypatch):
    key = tmp_path / "key"
    key.write_bytes(sshd.key_file.read_bytes())
    key.chmod(0o600)
    keygen("-p", "-P", "", "-N", "open sesame", "-f", key)
    monkeypatch.setenv("LOCKED_KEY_FILE", str(key))
    locked = replace(location, credentials="env:LOCKED")
    assert "has a passphrase" in refused(locked)
    monkeypatch.setenv("LOCKED_PASSPHRASE", "wrong words")
    said = refused(locked)
    assert "passphrase is wrong" in said
    assert "wrong words" not in said
    monkeypatch.setenv("LOCKED_PASSPHRASE", "open sesame")
    assert opens(locked)
    assert "has a passphrase" in refused(replace(location, credentials=f"file:{key}"))


@pytest.mark.parametrize("content", [None, "no key at all\n"])
def test_a_key_file_that_is_none_is_refused(location, tmp_path, monkeypatch, content):
    if content:
        (tmp_path / "key").write_text(content)
    monkeypatch.setenv("NOKEY_KEY_FILE", str(tmp_path / "key"))
    assert str(tmp_path / "key") in refused(replace(location, credentials="env:NOKEY"))


def test_a_foreign_key_is_refused(location, tmp_path, monkeypatch):
    servers.make_key(tmp_path / "key")
    monkeypatch.setenv("FOREIGN_KEY_FILE", str(tmp_path / "key"))
    assert str(tmp_path / "key") in refused(replace(location, credentials="env:FOREIGN"), ConnectorError)

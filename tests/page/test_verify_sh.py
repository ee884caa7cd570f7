"""verify.sh: under every shell and with either checksum program it says of an archive what our verifier says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import ALTERATIONS, build, close, example, fingerprint, key
from programs import program

TOOLS = "awk cat cut dash bash dirname env find grep ls perl sed sh sort tail tr uname uniq wc"


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[str]]]:
    """Name to a folder that holds exactly the programs of a system, and its shell."""
    base = tmp_path_factory.mktemp("systems")
    made = {
        "dash": (["dash"], "sha256sum ssh-keygen"),
        "bash": (["bash", "--posix"], "sha256sum ssh-keygen"),
        "shasum": (["dash"], "shasum ssh-keygen"),
        "busybox": (["sh"], "ssh-keygen"),
        "no ssh-keygen": (["dash"], "sha256sum"),
        "no checksum program": (["dash"], "ssh-keygen"),
    }
    for name, (_, tools) in made.items():
        (base / name).mkdir()
        if name == "busybox":
            subprocess.run([program("busybox"), "--install", "-s", str(base / name)], check=True)
        else:
            tools += f" {TOOLS}"
        for tool in tools.split():
            (base / name / tool).symlink_to(program(tool))
    return {name: (base / name, shell) for name, (shell, _) in made.items()}


class Answer:
    """What the script said."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.exit_code = done.returncode
        self.bytes = done.stdout
        self.text = done.stdout.decode("utf-8", "replace")
        self.errors = done.stderr.decode("utf-8", "replace")

    @property
    def result(self) -> tuple[int, str]:
        return self.exit_code, (self.text.splitlines() or [""])[-1]


Run = Callable[..., Answer]
VALID, DATA_DIFFERS, DAMAGED = (0, "RESULT: VALID"), (4, "RESULT: INVALID"), (6, "RESULT: INVALID")


@pytest.fixture
def run_on(systems: dict[str, tuple[Path, list[str]]]) -> Run:
    """Run the script of an archive on a system, from another folder."""

    def run(system: str, folder: Path, *arguments: str) -> Answer:
        box, shell = systems[system]
        command = [str(box / shell[0]), *shell[1:], str(folder / "verify.sh"), *arguments]
        return Answer(subprocess.run(command, env={"PATH": str(box)}, cwd="/", capture_output=True, check=False))

    return run


@pytest.fixture(params=["dash", "bash", "busybox", "shasum"])
def run(request: pytest.FixtureRequest, run_on: Run) -> Run:
    return lambda folder, *arguments: run_on(request.param, folder, *arguments)


def test_a_signed_archive_is_valid_and_its_fingerprint_is_shown_with_what_it_proves(tmp_path: Path, run: Run) -> None:
    answer = run(build(tmp_path / "archive", sign_with=key()))
    assert answer.result == VALID, answer.text + answer.errors
    assert "Données : 7 fichiers intacts sur 7 / Data: 7 of 7 files intact" in answer.text
    assert f"Signed by key {fingerprint()} Compare with the fingerprint kept outside the archive." in answer.text
    assert "only if it equals the one you keep outside the archive" in answer.text
    assert answer.errors == ""


def test_the_worked_example_is_valid_and_signed_by_its_key(tmp_path: Path, run: Run) -> None:
    assert run(example(tmp_path / "archive", sign_with=key()), fingerprint()).result == VALID


def test_every_alteration_gets_the_verdict_of_our_verifier(tmp_path: Path, run: Run) -> None:
    intact = build(tmp_path / "intact", sign_with=key())
    wrong = {}
    for name, alteration in ALTERATIONS.items():
        folder = tmp_path / "altered"
        shutil.copytree(intact, folder)
        alteration(folder)
        cases: list[tuple[list[str], int]] = [([], alteration.exit_code)]
        if alteration.demanded is not None:
            cases.append(([fingerprint()], alteration.demanded))
        for arguments, expected in cases:
            answer = run(folder, *arguments)
            if answer.result != (expected, f"RESULT: {'IN' if expected else ''}VALID") or answer.errors:
                wrong[name, *arguments] = (expected, answer.result, answer.text, answer.errors)
        shutil.rmtree(folder)
    assert not wrong


def test_two_pairs_of_lists_and_empty_files_alone_are_valid(tmp_path: Path, run: Run) -> None:
    assert run(build(tmp_path / "both", sha512=True, sign_with=key())).result == VALID
    assert run(build(tmp_path / "empty", {"vide": b"", "vide aussi": b""})).result == VALID


def test_an_unsigned_archive_is_valid_until_a_signature_is_demanded(tmp_path: Path, run: Run) -> None:
    folder = build(tmp_path / "archive")
    answer = run(folder)
    assert answer.result == VALID
    assert "Not signed: damage shows, forgery does not." in answer.text
    assert run(folder, fingerprint()).result == DAMAGED


def test_files_of_a_file_manager_are_named_and_harmless(tmp_path: Path, run: Run) -> None:
    folder = build(tmp_path / "archive")
    for name in (".DS_Store", "data/files/Thumbs.db", "data/files/labo/._0042.hl7"):
        (folder / name).write_bytes(b"left")
    answer = run(folder)
    assert answer.result == VALID
    assert "left by a file manager: 3" in answer.text


def test_no_control_character_of_a_name_reaches_the_terminal(tmp_path: Path, run: Run) -> None:
    characters = "\x1b\n\r\u202e\u0085\u2028"
    folder = build(tmp_path / "archive")
    for number, character in enumerate(characters):
        (folder / "data" / "files" / f"{number}{character}b.txt").write_bytes(b"x")
    answer = run(folder)
    assert answer.result == DAMAGED
    assert "    ./data/files/0?b.txt" in answer.text
    for character in characters.replace("\n", ""):
        assert character not in answer.text


BAD_LINES = [
    b"  data/files/x",
    b"0" * 64 + b" data/files/x",
    b"0" * 64 + b" *data/files/x",
    b"A" * 64 + b"  data/files/x",
    b"\\" + b"0" * 64 + b"  data/files/x",
    b"0" * 64 + b"  ",
    b"0" * 64 + b"  /etc/passwd",
    b"0" * 64 + b"  data//x",
    b"0" * 64 + b"  data/./x",
    b"0" * 64 + b"  data/files/..",
    b"0" * 64 + b"  ~/x",
    b"0" * 64 + b"  C:/x",
    b"0" * 64 + b"  data\\x",
    b"0" * 64 + b"  data/a%0Ab",
    b"0" * 64 + b"  data/a\rb",
    b"0" * 64 + b"  data/a\x00b",
    b"0" * 64 + b"  data/a\xc2\x85b",
    b"0" * 64 + b"  data/a\xe9b",
    b"0" * 64 + b"  data/a\xc3\xe2\x82\xac\xa9b",
    b"0" * 64 + b"  data/a\xed\xa0\x80b",
    b"0" * 64 + b"  -",
    b"",
]


def test_lists_are_refused_for_lines_that_checksum_programs_pass_over(tmp_path: Path, run: Run) -> None:
    folder = build(tmp_path / "archive")
    payload = folder / "manifest-sha256.txt"
    before = payload.read_bytes()
    accepted = []
    for line in BAD_LINES:
        payload.write_bytes(before + line + b"\n")
        answer = run(folder)
        if answer.result != DAMAGED or "The lists cannot be trusted" not in answer.text:
            accepted.append((line, answer.text))
    payload.write_bytes(before[:-1])
    if run(folder).result != DAMAGED:
        accepted.append((b"no end of line", ""))
    assert not accepted


def test_names_that_are_not_ascii_and_not_unicode_are_told_apart(tmp_path: Path, run: Run) -> None:
    folder = build(tmp_path / "archive", {"é/œuvre 心.txt": b"a", "\U0001f3e5.txt": b"b", "\ufb01n.txt": b"c"})
    assert run(folder).result == VALID


def test_without_ssh_keygen_the_rest_is_checked_and_a_demand_is_refused(tmp_path: Path, run_on: Run) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    answer = run_on("no ssh-keygen", folder)
    assert answer.result == VALID
    assert "The signature was not checked: ssh-keygen is not installed." in answer.text
    assert run_on("no ssh-keygen", folder, fingerprint()).result == DAMAGED
    ALTERATIONS["payload changed"](folder)
    assert run_on("no ssh-keygen", folder).result == DATA_DIFFERS


def test_without_a_checksum_program_nothing_is_valid(tmp_path: Path, run_on: Run) -> None:
    answer = run_on("no checksum program", build(tmp_path / "archive"))
    assert answer.result == (5, "RESULT: INVALID")
    assert "verify.html needs neither" in answer.text


def test_wrong_arguments_are_answered_with_the_usage(tmp_path: Path, run: Run) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    for arguments in (["--help"], [fingerprint(), "more"], ["MD5:00"]):
        answer = run(folder, *arguments)
        assert answer.exit_code == 2
        assert answer.errors == "usage: sh verify.sh [SHA256:...]\n"


def test_a_folder_with_only_the_script_is_no_archive(tmp_path: Path, run: Run) -> None:
    build(tmp_path / "archive")
    (tmp_path / "alone").mkdir()
    shutil.copy(tmp_path / "archive" / "verify.sh", tmp_path / "alone")
    answer = run(tmp_path / "alone")
    assert answer.result == DAMAGED
    assert "tagmanifest-sha256.txt is missing" in answer.text


def test_an_encrypted_manifest_is_accepted_as_a_description_file(tmp_path: Path, run: Run) -> None:
    folder = build(tmp_path / "archive")
    (folder / "metadata" / "manifest.jsonl").rename(folder / "metadata" / "manifest.jsonl.age")
    close(folder, sign_with=key())
    assert run(folder, fingerprint()).result == VALID


def test_the_archive_is_not_touched(tmp_path: Path, run: Run) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    before = {path: path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    run(folder)
    assert {path: path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before

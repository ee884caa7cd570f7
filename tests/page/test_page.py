"""verify.html in a real Chromium, opened from the disk: the verdict it gives, what it needs, and that nothing leaves it."""

from __future__ import annotations

import re
import shutil
import threading
import unicodedata
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from archives import ALTERATIONS, PRACTICE, Thing, archive_id, build, close, example, fingerprint, key
from browser import Checker
from playwright.sync_api import Browser, expect

Open = Callable[..., Checker]


@pytest.fixture(scope="module")
def checker(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checker]:
    """One tab for all tests that take nothing away from the browser; the page came with another archive."""
    home = build(tmp_path_factory.mktemp("home") / "archive", {"a": b"a"})
    context = chromium.new_context()
    yield Checker(context.new_page(), (home / "verify.html").as_uri())
    context.close()


@pytest.fixture(autouse=True)
def _no_request_and_no_error(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test of the shared tab: nothing was asked for but the page and its own worker."""
    yield
    if "checker" in request.fixturenames:
        checker = request.getfixturevalue("checker")
        assert checker.requests[0].startswith("file:///")
        assert all(url.startswith("blob:null/") for url in checker.requests[1:])
        assert checker.errors == []
        checker.paper("") if checker.state == "result" else None


def test_a_signed_archive_is_intact_and_says_so_in_the_agreed_words(tmp_path: Path, checker: Checker) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    answer = checker.check(folder)
    assert (answer.exit_code, answer.verdict, answer.where) == (0, "intact", "worker")
    assert checker.heading() == "ARCHIVE INTACTE"
    assert checker.line("tags") == "Fichiers de description : 13 intacts sur 13"
    assert checker.line("data") == "Données : 7 fichiers intacts sur 7"
    assert checker.line("set") == "Fichiers manquants : 0, en trop : 0, laissés par un explorateur : 0"
    assert checker.line("signature") == (
        f"Signé par la clé {fingerprint()} À comparer avec l'empreinte conservée hors de l'archive."
    )
    assert "Cette empreinte ne prouve l'origine de l'archive que si elle est identique à celle" in answer.text
    assert archive_id(folder) in answer.text
    assert "qui falsifie l'une peut falsifier l'autre" in answer.text


def test_the_same_result_is_there_in_english(tmp_path: Path, checker: Checker) -> None:
    checker.check(build(tmp_path / "archive", sign_with=key()))
    checker.page.click("[data-language=en]")
    assert checker.page.locator("html").get_attribute("lang") == "en"
    assert checker.heading() == "ARCHIVE INTACT"
    assert checker.line("data") == "Data: 7 of 7 files intact"
    assert checker.line("set") == "Missing files: 0, extra: 0, left by a file manager: 0"
    assert checker.line("signature") == (
        f"Signed by key {fingerprint()} Compare with the fingerprint kept outside the archive."
    )
    checker.page.click("[data-language=fr]")
    assert checker.page.locator("html").get_attribute("lang") == "fr"


def test_the_worked_example_is_intact(tmp_path: Path, checker: Checker) -> None:
    answer = checker.check(example(tmp_path / "archive", sign_with=key()))
    assert (answer.exit_code, answer.verdict) == (0, "intact")
    assert checker.line("tags") == "Fichiers de description : 13 intacts sur 13"
    assert checker.line("data") == "Données : 9 fichiers intacts sur 9"
    assert checker.line("manifest").startswith("Manifeste : 10 lignes, 72 octets, scellé")


def test_every_alteration_gets_the_verdict_of_our_verifier(tmp_path: Path, checker: Checker) -> None:
    intact = build(tmp_path / "intact", sign_with=key())
    wrong = {}
    for name, alteration in ALTERATIONS.items():
        if not alteration.on_page:
            continue
        folder = tmp_path / "altered"
        shutil.copytree(intact, folder)
        alteration(folder)
        answer = checker.check(folder)
        verdict = "altered" if alteration.exit_code else "intact"
        if (answer.exit_code, answer.verdict) != (alteration.exit_code, verdict):
            wrong[name] = (alteration.exit_code, answer)
        if alteration.demanded is not None and checker.paper(fingerprint()) != alteration.demanded:
            wrong[name, "demanded"] = (alteration.demanded, answer)
        checker.paper("")
        shutil.rmtree(folder)
    assert not wrong


def test_the_fingerprint_from_paper_is_compared_as_it_is_typed(tmp_path: Path, checker: Checker) -> None:
    checker.check(build(tmp_path / "archive", sign_with=key()))
    assert checker.paper(f" {fingerprint()[:20]} {fingerprint()[20:]}= ") == 0
    assert "L'empreinte est celle que vous conservez." in checker.page.locator("#lines").inner_text()
    assert checker.paper(fingerprint(key("another"))) == 6
    assert checker.heading() == "ARCHIVE ALTÉRÉE OU INCOMPLÈTE, NE PAS RESTAURER"
    assert "Signée par une autre clé" in checker.page.locator("#text").input_value()
    assert checker.paper("SHA256:abc") == 0
    assert checker.page.locator("#paper-bad").is_visible()


def test_an_unsigned_archive_is_intact_until_a_signature_is_expected(tmp_path: Path, checker: Checker) -> None:
    answer = checker.check(build(tmp_path / "archive"))
    assert (answer.exit_code, answer.verdict) == (0, "intact")
    assert checker.line("signature") == "Non signée : un dommage se voit, une falsification ne se voit pas."
    assert checker.paper(fingerprint()) == 6


def test_a_recomposed_name_is_recognised_and_twins_are_not(tmp_path: Path, checker: Checker) -> None:
    folder = build(tmp_path / "archive", {"Résultats/Écho.pdf": b"echo", "b.txt": b"b"})
    name = unicodedata.normalize("NFD", "Résultats")
    (folder / "data/files/Résultats").rename(folder / "data/files" / name)
    answer = checker.check(folder)
    assert (answer.exit_code, answer.verdict) == (0, "intact")
    assert "Nom dont les accents ont été recomposés par une copie : 1" in answer.text
    twin = folder / "data/files" / name / unicodedata.normalize("NFD", "Écho.pdf")
    twin.write_bytes(b"echo")
    answer = checker.check(folder)
    assert (answer.exit_code, answer.verdict) == (4, "altered")
    assert "plusieurs fichiers pourraient être lui" in answer.text


def test_files_of_a_file_manager_are_named_and_harmless(tmp_path: Path, checker: Checker) -> None:
    folder = build(tmp_path / "archive")
    for name in (".DS_Store", "data/files/Thumbs.db", "data/files/labo/._0042.hl7"):
        (folder / name).write_bytes(b"left")
    answer = checker.check(folder)
    assert (answer.exit_code, answer.verdict) == (0, "intact")
    assert checker.line("set").endswith("laissés par un explorateur : 3")


def test_names_are_text_and_their_invisible_characters_are_shown(tmp_path: Path, checker: Checker) -> None:
    folder = build(tmp_path / "archive")
    (folder / "data/files/<img src=x onerror=alert(1)>.txt").write_bytes(b"x")
    (folder / "data/files/facture\u202efdp.exe").write_bytes(b"x")
    (folder / "data/files/\x1b[31m").write_bytes(b"x")
    answer = checker.check(folder)
    assert answer.exit_code == 4
    shown = checker.page.locator("#problems-list").inner_text()
    for name in ("<img src=x onerror=alert(1)>.txt", "facture\\u{202E}fdp.exe", "\\u{1B}[31m"):
        assert name in shown
        assert name in answer.text
    assert checker.page.locator("#problems-list img").count() == 0


def test_an_export_that_is_not_proven_is_intact_and_says_why(tmp_path: Path, checker: Checker) -> None:
    cases = {
        "omis sans accord : socket (1)": [Thing(key="A", data=None, kind="skipped", members={"reason": "socket"})],
        "lignes non relues (niveau « listed ») : 1": [Thing(key="A", data=b"a", evidence="listed")],
    }
    for number, (reason, odd) in enumerate(cases.items()):
        folder = build(tmp_path / str(number), [*odd, *PRACTICE], sign_with=key())
        answer = checker.check(folder)
        assert (answer.exit_code, answer.verdict) == (3, "unproven")
        assert reason in checker.line("manifest")
    for number, census in enumerate(({"lines": 9}, {"bytes": 1}, {"root": "0" * 64}, {"kinds": {"object": 6}})):
        answer = checker.check(build(tmp_path / f"census{number}", census=census))
        assert (answer.exit_code, answer.verdict) == (3, "unproven")
    accepted = [Thing(key="A", data=None, kind="skipped", members={"reason": "socket"}), *PRACTICE]
    assert checker.check(build(tmp_path / "accepted", accepted, accepts=("socket",))).exit_code == 0
    assert "Omissions acceptées : socket (1)" in checker.line("manifest")


def test_a_delta_says_which_archive_completes_it(tmp_path: Path, checker: Checker) -> None:
    other = "sha256:" + "1" * 64
    stored = {"Résultats/été.txt": (other, "data/files/Résultats/été.txt")}
    answer = checker.check(build(tmp_path / "delta", stored_in=stored))
    assert (answer.exit_code, answer.verdict) == (3, "unproven")
    assert f"archive partielle, complète seulement avec {other}" in checker.line("manifest")


def test_an_encrypted_manifest_is_checked_as_bytes_only_and_says_so(tmp_path: Path, checker: Checker) -> None:
    folder = build(tmp_path / "archive")
    (folder / "metadata" / "manifest.jsonl").rename(folder / "metadata" / "manifest.jsonl.age")
    close(folder, sign_with=key())
    assert checker.check(folder).exit_code == 0
    assert checker.line("manifest").startswith("Manifeste chiffré : la page vérifie les fichiers chiffrés")


def test_a_second_pair_of_lists_must_name_the_same_files(tmp_path: Path, checker: Checker) -> None:
    folder = build(tmp_path / "archive", sha512=True, sign_with=key())
    assert checker.check(folder).exit_code == 0
    lines = (folder / "manifest-sha512.txt").read_bytes().splitlines(keepends=True)
    (folder / "manifest-sha512.txt").write_bytes(b"".join(lines[1:]))
    close(folder, sign_with=key())
    answer = checker.check(folder)
    assert answer.exit_code == 6
    assert "(V7)" in answer.text


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda folder: (folder / "fetch.txt").write_bytes(b""), "V10"),
        (lambda folder: (folder / "manifest-sha256.txt").write_bytes(b"0" * 64 + b"  data/100%\n"), "V16"),
        (lambda folder: (folder / "manifest-sha256.txt").write_bytes(b"0" * 64 + b"  data/files/CON\n"), "V17"),
        (lambda folder: (folder / "manifest-sha256.txt").write_bytes((b"0" * 64 + b"  data/a\n") * 2), "V6"),
        (lambda folder: (folder / "manifest-sha256.txt").write_bytes(b"0" * 64 + b"  data/\xe9\n"), "V4"),
        (lambda folder: (folder / "manifest-sha256.txt").write_bytes(b"0" * 64 + b"  data/a"), "V3"),
    ],
)
def test_lists_are_read_as_strictly_as_our_verifier_reads_them(
    tmp_path: Path, checker: Checker, change: Callable[[Path], object], rule: str
) -> None:
    folder = build(tmp_path / "archive")
    change(folder)
    close(folder, sign_with=key())
    answer = checker.check(folder)
    assert (answer.exit_code, answer.verdict) == (6, "altered")
    assert f"({rule})" in answer.text


def test_a_folder_that_is_no_archive_gets_a_hint_where_one_is(tmp_path: Path, checker: Checker) -> None:
    build(tmp_path / "sauvegardes" / "archive de novembre")
    answer = checker.check(tmp_path / "sauvegardes")
    assert (answer.exit_code, answer.verdict) == (6, None)
    assert checker.heading() == "Ce dossier n'est pas une archive"
    assert "archive de novembre" in checker.page.locator("#places").inner_text()


def test_a_dropped_folder_is_read_like_a_chosen_one(tmp_path: Path, checker: Checker) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    if checker.state != "start":
        checker.page.locator(".again:visible").click()
    session = checker.page.context.new_cdp_session(checker.page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    answer = checker.result()
    assert (answer.exit_code, answer.verdict) == (0, "intact")
    assert checker.page.locator("#folder").text_content() == "archive"


def test_the_result_is_copied_as_text(tmp_path: Path, chromium: Browser) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    checker = Checker(context.new_page(), (folder / "verify.html").as_uri())
    answer = checker.check(folder)
    checker.page.click("#copy")
    expect(checker.page.locator("#copied")).to_have_text("Résultat copié")
    assert checker.page.evaluate("navigator.clipboard.readText()") == answer.text
    context.close()


def test_a_verification_can_be_stopped_and_started_again(tmp_path: Path, open_page: Open) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    checker = open_page(folder, without="self.Worker = class { postMessage() {} terminate() {} }")
    checker.page.set_input_files("#files", str(folder))
    checker.page.click("#stop")
    checker.page.wait_for_selector("body[data-state=start]")
    assert checker.page.locator("#choose").is_visible()


@pytest.mark.parametrize(
    ("missing", "where"),
    [
        ("delete self.Worker", "page"),
        ("self.Worker = class { constructor() { throw new Error('refused') } }", "page"),
        ("delete self.Worker; delete self.WebAssembly", "page"),
        ("delete self.Worker; crypto.subtle.importKey = () => Promise.reject(new DOMException('no', 'NotSupportedError'))", "page"),
        ("delete self.Worker; delete self.WebAssembly; Object.defineProperty(crypto, 'subtle', { value: undefined })", "page"),
    ],
    ids=["no worker", "worker refused", "no worker, no WASM", "no Ed25519", "no WebCrypto at all"],
)  # fmt: skip
def test_what_a_browser_lacks_is_replaced(tmp_path: Path, open_page: Open, missing: str, where: str) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    checker = open_page(folder, without=missing)
    answer = checker.check(folder)
    assert (answer.exit_code, answer.verdict, answer.where) == (0, "intact", where)
    assert fingerprint() in checker.line("signature")
    ALTERATIONS["signature of other bytes"](folder)
    assert checker.check(folder).exit_code == 6
    ALTERATIONS["payload changed"](folder)
    assert "Donnée modifiée" in checker.check(folder).text
    assert checker.errors == []


LARGE = 101 * 2**20


@pytest.mark.parametrize(
    "missing", ["", "delete self.Worker; delete self.WebAssembly"], ids=["WASM", "plain JavaScript"]
)
def test_a_file_above_100_megabytes_is_hashed_in_slices(tmp_path: Path, open_page: Open, missing: str) -> None:
    folder = build(tmp_path / "archive", {"scanner/irm.dcm": bytes(LARGE), "a.txt": b"a"})
    checker = open_page(folder, without=missing)
    assert checker.check(folder).exit_code == 0
    with (folder / "data/files/scanner/irm.dcm").open("r+b") as stream:
        stream.seek(LARGE - 1)
        stream.write(b"\1")
    assert checker.check(folder).exit_code == 4


def test_ten_thousand_files_are_intact_and_one_changed_among_them_is_named(tmp_path: Path, checker: Checker) -> None:
    contents = {f"{number % 100:02}/{number:05}.txt": b"%d" % number for number in range(10_000)}
    folder = build(tmp_path / "archive", contents)
    victim = folder / "data/files/34/01234.txt"
    victim.write_bytes(b"1235")
    answer = checker.check(folder, timeout=300)
    assert answer.exit_code == 4
    assert re.search(r"Donnée modifiée \(V15\) : 1\n    data/files/34/01234.txt\n", answer.text)
    assert re.sub(r"\s", " ", checker.line("data")) == "Données : 9 999 fichiers intacts sur 10 000"


def test_above_its_limits_the_page_proposes_the_script_first(tmp_path: Path, checker: Checker) -> None:
    if checker.state != "start":
        checker.page.locator(".again:visible").click()
    folder = build(tmp_path / "archive")
    with (folder / "data/files/huge").open("wb") as stream:
        stream.truncate(101 * 10**9)
    checker.page.set_input_files("#files", str(folder))
    checker.page.wait_for_selector("body[data-state=large]")
    assert "sh verify.sh" in checker.page.locator("#large").inner_text()
    checker.page.locator(".again:visible").click()


def test_the_page_can_be_used_with_the_keyboard_and_has_names_for_a_screen_reader(
    tmp_path: Path, open_page: Open
) -> None:
    folder = build(tmp_path / "archive", sign_with=key())
    checker = open_page(folder)  # a tab of its own: only the one in front has the keyboard
    page = checker.page
    for name in ("Français", "English", "Choisir le dossier"):
        assert page.get_by_role("button", name=name, exact=True).is_visible()
    assert page.get_by_label("Empreinte conservée hors de l'archive (facultatif)").is_visible()
    order: list[str] = []
    while order[-3:] != ["fr", "en", "choose"]:
        assert len(order) < 12, order
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.language || ''"))
    page.locator("#files").evaluate("(e) => e.addEventListener('click', () => { e.dataset.opened = 'yes' })")
    page.keyboard.press("Enter")
    expect(page.locator("#files")).to_have_attribute("data-opened", "yes")
    assert checker.check(folder).exit_code == 0
    assert page.evaluate("document.activeElement.id") == "verdict-word"
    assert page.locator("#announce").get_attribute("aria-live") == "polite"


CONTRAST = """
() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/rgba\\(.*, 0\\)/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(e.textContent.slice(0, 40));
  }
  return poor;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_and_fits_a_phone(tmp_path: Path, chromium: Browser, scheme: str) -> None:
    signed = build(tmp_path / "signed", sign_with=key())
    altered = build(tmp_path / "altered")
    ALTERATIONS["payload renamed"](altered)
    unproven = build(tmp_path / "unproven", census={"lines": 9})
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 320, "height": 640})  # type: ignore[arg-type]  # a literal of Playwright's
    checker = Checker(context.new_page(), (signed / "verify.html").as_uri())
    for folder in (None, signed, altered, unproven, tmp_path):
        if folder:
            checker.check(folder)
        assert checker.page.evaluate(CONTRAST) == []
        assert checker.page.evaluate("document.documentElement.scrollWidth") <= 320
    context.close()


class Listener(ThreadingHTTPServer):
    """Would answer anything, and notes what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answers)


class _Answers(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        self.server.heard.append(self.path)
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    do_POST = do_GET  # noqa: N815  # the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Nothing: the test looks at what was heard."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_policy_of_the_page_lets_nothing_out(tmp_path: Path, open_page: Open, listener: Listener) -> None:
    checker = open_page(build(tmp_path / "archive"))
    policy = checker.page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy == (
        "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; worker-src blob:; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    address = f"http://127.0.0.1:{listener.server_port}/x.js"
    for attempt in (f"fetch('{address}')", f"import('{address}')"):
        assert checker.page.evaluate(f"{attempt}.then(() => 'sent', () => 'refused')") == "refused"
    checker.page.evaluate("(address) => { new Image().src = address; navigator.sendBeacon(address, 'x'); }", address)
    inside = f"fetch('{address}').then(() => postMessage('sent'), () => postMessage('refused'))"
    assert (
        checker.page.evaluate(
            "(code) => new Promise((r) => { new Worker(URL.createObjectURL(new Blob([code]))).onmessage = (e) => r(e.data); })",
            inside,
        )
        == "refused"
    )
    assert listener.heard == []
    assert checker.page.evaluate("localStorage.length + document.cookie.length") == 0

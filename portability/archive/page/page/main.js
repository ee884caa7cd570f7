// The page: its states, what a person does in each, and the result. Names enter it as text only.

import { runEngine } from "./engine.js";
import { filesOfDrop, filesOfInput } from "./folder.js";
import { grouped, judgeReport, reportLines, reportText } from "./report.js";
import { TEXTS, shownName, sizeText, typeset } from "./texts.js";

const FILE_LIMIT = 100000;
const BYTE_LIMIT = 100e9;
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;

const at = (id) => document.getElementById(id);
const page = { language: "fr", state: "start", result: undefined, chosen: undefined, engine: undefined, progress: undefined };
const words = () => TEXTS[page.language];
const phrase = (text) => typeset(text, page.language);

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function paperFingerprint() {
  const typed = at("paper").value.replace(/\s+/g, "").replace(/=+$/, "");
  return { typed, valid: typed === "" || FINGERPRINT.test(typed) };
}

function show(state) {
  page.state = state;
  document.body.dataset.state = state;
  for (const section of document.querySelectorAll("[data-show]")) {
    section.hidden = !section.dataset.show.split(" ").includes(state);
  }
  render();
}

function render() {
  const t = words();
  document.documentElement.lang = page.language;
  document.title = t.title;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = phrase(t[element.dataset.text] ?? "");
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === page.language));
  }
  at("languages").setAttribute("aria-label", t.language);
  const limits = { fileLimit: FILE_LIMIT.toLocaleString(page.language), byteLimit: sizeText(BYTE_LIMIT, page.language) };
  at("limits").textContent = phrase(t.limits(limits));
  if (page.state === "large") {
    const { files, bytes } = page.chosen;
    const size = { files: files.size.toLocaleString(page.language), bytes: sizeText(bytes, page.language) };
    at("large").textContent = phrase(t.large({ ...limits, ...size }));
  }
  const { valid } = paperFingerprint();
  at("paper-bad").hidden = valid;
  at("paper").setAttribute("aria-invalid", String(!valid));
  if (page.state === "running") renderProgress();
  if (page.state === "result") renderResult();
  if (page.state === "stranger") renderStranger();
}

function renderProgress() {
  const t = words();
  const bar = at("bar");
  const p = page.progress;
  if (!p) {
    bar.removeAttribute("value");
    at("far").textContent = t.reading;
    at("left").textContent = "";
    return;
  }
  const far = p.totalBytes ? (p.bytes + p.files * 20000) / (p.totalBytes + p.totalFiles * 20000) : 1; // a file costs time even if it is small
  bar.value = far;
  bar.setAttribute("aria-valuetext", `${Math.floor(far * 100)} %`);
  at("far").textContent = p.last ? t.last : t.progress({
    files: p.files.toLocaleString(page.language),
    totalFiles: p.totalFiles.toLocaleString(page.language),
    bytes: sizeText(p.bytes, page.language),
    totalBytes: sizeText(p.totalBytes, page.language),
  });
  const seconds = (Date.now() - page.started) / 1000;
  at("left").textContent = seconds > 5 && far > 0.01 ? t.remaining(t.minutes(Math.round((seconds / far - seconds) / 60))) : "";
  const tenth = Math.floor(far * 10);
  if (tenth !== page.announced) {
    page.announced = tenth;
    at("announce").textContent = `${t.running} : ${tenth * 10} %`;
  }
}

function groupList(groups) {
  const list = make("ul", undefined, "groups");
  for (const { title, rule, names, count } of groups) {
    const item = make("li");
    const head = make("p", phrase(title), "group");
    if (count > 1) head.append(" ", make("span", count.toLocaleString(page.language), "count"));
    if (rule) head.append(" ", make("span", rule, "rule"));
    item.append(head);
    if (names.length) {
      const inner = make("ul", undefined, "names");
      for (const name of names) inner.append(make("li", name));
      if (count > names.length) inner.append(make("li", words().more(count - names.length), "quiet"));
      item.append(inner);
    }
    list.append(item);
  }
  return list;
}

function renderStranger() {
  const { places } = page.result.report;
  document.documentElement.dataset.exit = "6";
  at("places").hidden = !places.length;
  at("places-list").replaceChildren(groupList(places.map((place) => ({ title: shownName(place), names: [], count: 1 }))));
}

function renderResult() {
  const t = words();
  const { report, folder } = page.result;
  const { typed, valid } = paperFingerprint();
  const paper = valid ? typed : "";
  const judged = judgeReport(report, paper);
  Object.assign(page.result, { judged, paper });
  at("verdict").dataset.verdict = judged.verdict;
  document.documentElement.dataset.exit = String(judged.code);
  at("verdict-word").textContent = phrase(t[judged.verdict]);
  at("verdict-help").textContent = phrase(t[`${judged.verdict}Help`]);

  at("lines").replaceChildren(...reportLines(report, paper, page.language).map(({ id, mark, text, more }) => {
    const item = make("li", undefined, mark);
    item.dataset.line = id;
    item.append(make("span", `${t[mark]} : `, "unseen"), lineText(phrase(text), report.signature.fingerprint));
    if (more) item.append(make("p", phrase(more), "more"));
    return item;
  }));
  for (const [id, title, groups] of [
    ["problems", "problemsTitle", grouped(judged.findings.filter(({ code }) => code > 3), judged.counts, page.language)],
    ["notes", "notesTitle", grouped(report.notes, undefined, page.language)],
  ]) {
    const total = groups.reduce((sum, { count }) => sum + count, 0);
    at(id).hidden = !total;
    at(`${id}-title`).textContent = t[title](total);
    at(`${id}-list`).replaceChildren(groupList(groups));
  }
  at("folder").textContent = shownName(folder);
  at("identity").textContent = report.archiveId ?? "-";
  at("when").textContent = page.result.when.toLocaleString(page.language);
  at("text").value = reportText(page.result, page.language);
}

// The fingerprint stands apart in fixed width: it is read aloud and compared letter by letter.
function lineText(text, fingerprint) {
  const paragraph = make("p");
  const place = fingerprint ? text.indexOf(fingerprint) : -1;
  if (place < 0) {
    paragraph.textContent = text;
  } else {
    const after = place + fingerprint.length;
    paragraph.append(text.slice(0, place), make("code", fingerprint), text.slice(after));
  }
  return paragraph;
}

async function begin({ folder, files }) {
  if (!files.size) {
    say("nothing");
    return;
  }
  let bytes = 0;
  for (const file of files.values()) bytes += file.size;
  page.chosen = { folder, files, bytes };
  if (files.size > FILE_LIMIT || bytes > BYTE_LIMIT) show("large");
  else await run();
}

async function run() {
  const { folder, files } = page.chosen;
  page.progress = undefined;
  page.started = Date.now();
  page.announced = undefined;
  show("running");
  at("running-title").focus();
  page.engine = runEngine(files, (progress) => {
    page.progress = progress;
    renderProgress();
  });
  try {
    const { report, where, stopped } = await page.engine.outcome;
    if (stopped) {
      show("start");
      return;
    }
    document.documentElement.dataset.where = where;
    page.result = { report, folder, when: new Date() };
    at("announce").textContent = "";
    show(report.kind === "archive" ? "result" : "stranger");
    at(report.kind === "archive" ? "verdict-word" : "stranger-word").focus();
  } catch (error) {
    show("start");
    say("failure");
    at("trouble-detail").textContent = String(error);
  }
}

function say(name) {
  const trouble = at("trouble");
  trouble.dataset.text = name;
  trouble.textContent = phrase(words()[name] ?? "");
  at("trouble-detail").textContent = "";
  at("trouble-box").hidden = !name;
}

function startAgain() {
  say("");
  at("files").value = "";
  delete document.documentElement.dataset.exit;
  Object.assign(page, { result: undefined, chosen: undefined });
  show("start");
  at("choose").focus();
}

async function copy() {
  const text = at("text");
  try {
    await navigator.clipboard.writeText(text.value);
    at("copied").textContent = words().copied;
  } catch {
    at("as-text").open = true;
    text.select();
    at("copied").textContent = words().copyFailed;
  }
}

at("choose").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", () => {
  say("");
  begin(filesOfInput(at("files").files));
});
at("paper").addEventListener("input", render);
at("stop").addEventListener("click", () => page.engine.stop());
at("large-go").addEventListener("click", run);
at("copy").addEventListener("click", copy);
for (const button of document.querySelectorAll(".again")) button.addEventListener("click", startAgain);
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    page.language = button.dataset.language;
    at("copied").textContent = "";
    render();
  });
}

let hovering = 0;
const hover = (change) => {
  hovering = Math.max(0, hovering + change);
  document.body.classList.toggle("dropping", hovering > 0);
};
document.addEventListener("dragenter", () => hover(1));
document.addEventListener("dragleave", () => hover(-1));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  hover(-hovering);
  if (page.state === "running") return;
  const found = filesOfDrop(event.dataTransfer);
  say("");
  page.progress = undefined;
  show("running");
  try {
    const chosen = await found;
    show("start");
    await begin(chosen);
  } catch {
    show("start");
    say("nothing");
  }
});

show("start");

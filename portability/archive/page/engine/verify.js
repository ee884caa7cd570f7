// The verification of an archive, from its lists to its signature. It knows files and paths, nothing of the page.

import { eachFile, hashFile, hex, prepareHashing, sha256 } from "./hashing.js";
import { PAYLOAD, TAGS, checkDeclaration, checkLists, checkOxum, parseList } from "./lists.js";
import { isCheckpointOf, readManifest } from "./manifest.js";
import { isLeftOver } from "./names.js";
import { checkSignature } from "./signature.js";

const SIGNATURE = `signatures/${TAGS}.sig`;
const SIGNATURES =
  /^signatures\/(?:allowed_signers|tagmanifest-sha256\.txt\.(?:sig|sig\.tsr|sig\.crt|p7s)|statements\/\d{4}-[\w-]+\.json(?:\.sig)?)$/;
const NAMED = 200; // findings that are named; the rest is counted

/** Findings, counted by problem, the first ones with names. */
class Findings {
  constructor() {
    this.named = [];
    this.counts = {};
    this.code = 0;
  }

  add(finding) {
    this.code = Math.max(this.code, finding.code);
    this.counts[finding.problem] = (this.counts[finding.problem] ?? 0) + 1;
    if (this.counts[finding.problem] <= NAMED) this.named.push(finding);
  }
}

async function read(file) {
  return new Uint8Array(await file.arrayBuffer());
}

/** Where an archive seems to be, if the chosen folder is none. */
function lookForArchive(files) {
  const places = [];
  for (const path of files.keys()) {
    if (path.endsWith(`/${TAGS}`)) places.push(path.slice(0, -TAGS.length - 1));
  }
  return places.slice(0, 5);
}

/** Pairs listed paths with files: by exact name, else by the one unlisted file whose NFC form is equal. */
function match(listed, files, findings) {
  const pairs = new Map();
  const rest = new Map([...files].filter(([path]) => !listed.has(path)));
  const recomposed = new Map();
  for (const path of rest.keys()) {
    const form = path.normalize("NFC");
    recomposed.set(form, [...(recomposed.get(form) ?? []), path]);
  }
  const notes = [];
  for (const path of listed) {
    const found = files.get(path);
    if (found) {
      pairs.set(path, found);
      continue;
    }
    const candidates = recomposed.get(path.normalize("NFC")) ?? [];
    const code = path.startsWith("data/") ? 4 : 6;
    if (candidates.length === 1) {
      pairs.set(path, files.get(candidates[0]));
      rest.delete(candidates[0]);
      notes.push({ problem: "recomposed", name: path });
    } else {
      findings.add({ rule: candidates.length ? "V17" : "V15", code, problem: candidates.length ? "twins" : "missing", name: path });
    }
  }
  return { pairs, rest: [...rest.keys()], notes };
}

/** Verifies these files (path relative to the archive to File) and tells `notify` how far it is. */
export async function verifyArchive(files, notify) {
  const present = (path) => files.has(path);
  if (![TAGS, PAYLOAD, "bagit.txt"].some(present)) return { kind: "notArchive", places: lookForArchive(files) };

  const findings = new Findings();
  const find = (finding) => findings.add(finding);
  const report = { kind: "archive", notes: [], signature: { state: "absent" } };
  const done = () => ({ ...report, findings: findings.named, counts: findings.counts, code: findings.code });

  const needed = ["bagit.txt", "bag-info.txt", PAYLOAD, TAGS].filter((path) => !present(path));
  for (const path of needed) find({ rule: path === "bagit.txt" ? "V1" : "V8", code: 6, problem: "noList", name: path });
  if (needed.length) return done();
  if (present("fetch.txt")) find({ rule: "V10", code: 6, problem: "fetch" });

  await prepareHashing();
  const tagList = await read(files.get(TAGS));
  report.archiveId = `sha256:${hex(sha256(tagList))}`;
  checkDeclaration(await read(files.get("bagit.txt")), find);
  const tags = parseList(tagList, TAGS, find);
  const payload = parseList(await read(files.get(PAYLOAD)), PAYLOAD, find);
  checkLists(payload, tags, find);
  if (present("manifest-sha512.txt")) {
    const other = parseList(await read(files.get("manifest-sha512.txt")), "manifest-sha512.txt", find, 128);
    const same = other.size === payload.size && [...other.keys()].every((path) => payload.has(path));
    if (!same) find({ rule: "V7", code: 6, problem: "listsDisagree" });
  }
  report.signature = present(SIGNATURE)
    ? await checkSignature(new TextDecoder().decode(await read(files.get(SIGNATURE))), tagList)
    : { state: "absent" };
  if (report.signature.state === "invalid") find({ rule: "V22", code: 6, problem: "signature" });
  if (findings.named.some(({ rule }) => /^V[3-9]$|^V16$/.test(rule))) return done();

  const matched = match(new Set([...tags.keys(), ...payload.keys()]), files, findings);
  report.notes = matched.notes.slice(0, NAMED);
  report.set = { missing: tags.size + payload.size - matched.pairs.size, extra: 0, left: 0 };
  for (const path of matched.rest) {
    if (/^tagmanifest-sha(?:256|512)\.txt$/.test(path) || SIGNATURES.test(path)) continue;
    if (isLeftOver(path)) {
      report.set.left += 1;
      if (report.notes.length < NAMED) report.notes.push({ problem: "left", name: path });
    } else {
      report.set.extra += 1;
      const inside = path.startsWith("data/");
      find({ rule: inside ? "V12" : "V13", code: 4, problem: inside ? "extraData" : "extra", name: path });
    }
  }

  const jobs = [...matched.pairs].map(([path, file]) => ({ path, file }));
  const totals = { files: jobs.length, bytes: jobs.reduce((sum, { file }) => sum + file.size, 0) };
  const far = { files: 0, bytes: 0 };
  let told = 0;
  const progress = (bytes, finished = 0) => {
    far.bytes += bytes;
    far.files += finished;
    const now = Date.now();
    if (now - told < 100) return;
    told = now;
    notify({ ...far, totalFiles: totals.files, totalBytes: totals.bytes });
  };
  report.tags = { intact: 0, listed: tags.size };
  report.data = { intact: 0, listed: payload.size };
  await eachFile(jobs, async ({ path, file }) => {
    const inData = payload.has(path);
    let digest;
    try {
      digest = await hashFile(file, progress);
    } catch {
      find({ rule: "V15", code: inData ? 4 : 6, problem: "unreadable", name: path });
    }
    if (digest !== undefined) {
      if (digest === (inData ? payload : tags).get(path)) (inData ? report.data : report.tags).intact += 1;
      else find({ rule: "V15", code: inData ? 4 : 6, problem: inData ? "differs" : "tagDiffers", name: path });
    }
    progress(0, 1);
  });
  notify({ ...far, totalFiles: totals.files, totalBytes: totals.bytes, last: true });

  const inData = jobs.filter(({ path }) => path.startsWith("data/"));
  if (report.data.intact === payload.size) {
    checkOxum(await read(files.get("bag-info.txt")), inData.reduce((sum, { file }) => sum + file.size, 0), payload.size, find);
  }
  await checkManifest(matched.pairs, payload, report, find);
  return done();
}

async function checkManifest(pairs, payload, report, find) {
  const file = pairs.get("metadata/manifest.jsonl");
  if (!file) {
    report.manifest = { encrypted: pairs.has("metadata/manifest.jsonl.age") };
    return;
  }
  report.manifest = await readManifest(file, payload, find, () => {});
  const { refused, reasons } = report.manifest;
  if (refused) {
    find({ rule: "V19", code: 6, problem: "manifest", line: refused.line, detail: refused.rule });
    return;
  }
  const checkpoint = pairs.get("metadata/checkpoint.txt");
  if (checkpoint && !isCheckpointOf(await read(checkpoint), report.manifest)) {
    find({ rule: "V19", code: 6, problem: "checkpoint" });
  }
  if (reasons.length) find({ rule: "V21", code: 3, problem: "notProven" });
}

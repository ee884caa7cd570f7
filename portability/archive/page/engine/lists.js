// The small files of a bag: its declaration, its label and the two lists of checksums, read as strictly as section 11 asks.

import { byCodePoint } from "./canonical.js";
import { brokenRule, fold, isArchivePath } from "./names.js";

export const PAYLOAD = "manifest-sha256.txt";
export const TAGS = "tagmanifest-sha256.txt";
const DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

const text = (bytes) => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
};

/** V1, V2. */
export function checkDeclaration(bytes, find) {
  if (text(bytes) !== DECLARATION) find({ rule: "V1", code: 6, problem: "declaration" });
}

/** V3, V4, V6, V16: path to digest, of a list with digests of this many hexadecimal digits. */
export function parseList(bytes, list, find, digits = 64) {
  const found = new Map();
  const content = text(bytes);
  if (content === undefined) {
    find({ rule: "V4", code: 6, problem: "notUtf8", name: list });
    return found;
  }
  const lines = content.split("\n");
  if (lines.pop() !== "") find({ rule: "V3", code: 6, problem: "malformed", name: list, line: lines.length + 1 });
  let last = "";
  let sorted = true;
  const pattern = new RegExp(`^[0-9a-f]{${digits}}  .`, "su");
  lines.forEach((line, at) => {
    if (!pattern.test(line)) {
      find({ rule: "V3", code: 6, problem: "malformed", name: list, line: at + 1 });
      return;
    }
    const path = line.slice(digits + 2);
    if (!isArchivePath(path)) find({ rule: "V4", code: 6, problem: "unsafePath", name: path });
    if (path.includes("%")) find({ rule: "V16", code: 6, problem: "percent", name: path });
    if (byCodePoint(path, last) < 0) sorted = false; // the order of code points is that of UTF-8 bytes
    last = path;
    if (found.has(path)) find({ rule: "V6", code: 6, problem: "twice", name: path });
    found.set(path, line.slice(0, digits));
  });
  if (!sorted) find({ rule: "V3", code: 6, problem: "unsorted", name: list });
  return found;
}

/** V5, V9, V17: what must and must not stand in the lists. */
export function checkLists(payload, tags, find) {
  const folded = new Map();
  for (const path of payload.keys()) {
    if (!path.startsWith("data/")) find({ rule: "V5", code: 6, problem: "wrongList", name: path });
    const broken = path.split("/").map(brokenRule).find(Boolean);
    if (broken && !path.includes("%")) find({ rule: "V17", code: 6, problem: "nameRule", name: path, detail: broken });
    checkFold(path, folded, find);
  }
  for (const path of tags.keys()) {
    const wrong = path.startsWith("data/") || path.startsWith("signatures/") || /^tagmanifest-/.test(path);
    if (wrong) find({ rule: "V5", code: 6, problem: "wrongList", name: path });
    checkFold(path, folded, find);
  }
  const required = ["bagit.txt", "bag-info.txt", PAYLOAD, "metadata/checkpoint.txt"];
  for (const path of required) if (!tags.has(path)) find({ rule: "V9", code: 6, problem: "notInTagList", name: path });
  if (!tags.has("metadata/manifest.jsonl") && !tags.has("metadata/manifest.jsonl.age")) {
    find({ rule: "V9", code: 6, problem: "notInTagList", name: "metadata/manifest.jsonl" });
  }
}

function checkFold(path, folded, find) {
  const key = fold(path);
  if (folded.has(key) && folded.get(key) !== path) {
    find({ rule: "V17", code: 6, problem: "sameName", name: path, detail: folded.get(key) });
  }
  folded.set(key, path);
}

/** V14: Payload-Oxum stands once and is right. */
export function checkOxum(bytes, octets, files, find) {
  const lines = (text(bytes) ?? "").split(/\r\n|\n|\r/);
  const stated = lines.filter((line) => /^payload-oxum\s*:/i.test(line)).map((line) => line.replace(/^[^:]*:\s*/, ""));
  const expected = `${octets}.${files}`;
  if (stated.length !== 1 || stated[0] !== expected) {
    find({ rule: "V14", code: 6, problem: "oxum", expected: stated.join(", "), found: expected });
  }
}

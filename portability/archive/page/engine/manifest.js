// The manifest: read line by line in bounded memory, its seal and roots recomputed, its lines held against the payload list.

import { Refusal, canonicalText, parseCanonical } from "./canonical.js";
import { hex, newSha256, slices } from "./hashing.js";
import { LEVELS, checkHeader, checkReceipt, keyBytes } from "./receipts.js";
import { TreeRoot } from "./tree.js";

const LF = Uint8Array.of(10);
const LONGEST = 4 * 2 ** 20;
const encoder = new TextEncoder();

async function* linesOf(file) {
  let tail = new Uint8Array();
  for await (const piece of slices(file)) {
    let bytes = piece;
    if (tail.length) {
      bytes = new Uint8Array(tail.length + piece.length);
      bytes.set(tail);
      bytes.set(piece, tail.length);
    }
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      if (end - from > LONGEST) throw new Refusal("3.1");
      yield bytes.subarray(from, end);
      from = end + 1;
    }
    tail = bytes.slice(from);
    if (tail.length > LONGEST) throw new Refusal("3.1");
  }
  if (tail.length) throw new Refusal("3.1");
}

function isAfter(key, order, previous) {
  const length = Math.min(key.length, previous.key.length);
  for (let i = 0; i < length; i += 1) if (key[i] !== previous.key[i]) return key[i] > previous.key[i];
  return key.length === previous.key.length ? order > previous.order : key.length > previous.key.length;
}

const count = (counts, name, by = 1) => counts.set(name, (counts.get(name) ?? 0) + by);

function censusLeaf(line) {
  const leaf = { key: line.key, kind: line.kind };
  if ("key_b64" in line) leaf.key_b64 = line.key_b64;
  if ("order" in line) leaf.order = line.order;
  return encoder.encode(canonicalText(leaf));
}

/** Holds lines and payload list against each other (V20). */
class PayloadCheck {
  constructor(payload, find) {
    this.payload = payload;
    this.find = find;
    this.named = new Set();
  }

  line(line) {
    if ("stored_in" in line || !("path" in line)) return;
    this.named.add(line.path);
    const expected = line.age ? line.age.sha256 : line.sha256;
    if (this.payload.get(line.path) !== expected) {
      this.find({ rule: "V20", code: 6, problem: "notInPayload", name: line.path });
    }
  }

  end() {
    for (const path of this.payload.keys()) {
      if (this.named.has(path) || path === "data/ro-crate-metadata.json") continue;
      this.find({ rule: "V20", code: 6, problem: "notInManifest", name: path });
    }
  }
}

/** What a manifest says, or `{refused: {line, rule}}`. */
export async function readManifest(file, payload, find, progress) {
  const hash = await newSha256();
  const root = new TreeRoot();
  const census = new TreeRoot();
  const check = new PayloadCheck(payload, find);
  const summary = { lines: 0, bytes: 0, kinds: new Map(), evidence: new Map(), skipped: new Map(), losses: new Map() };
  summary.elsewhere = new Set();
  let previous = { key: new Uint8Array(), order: -1 };
  let header;
  let sealed = false;
  let number = 0;
  try {
    for await (const bytes of linesOf(file)) {
      number += 1;
      progress(bytes.length + 1);
      if (sealed) throw new Refusal("3.6");
      const line = parseCanonical(bytes);
      if (number === 1) {
        checkHeader(line);
        header = line;
      } else if ("seal" in line && !("key" in line)) {
        const seal = { bytes: summary.bytes, count: summary.lines, root: root.digest(), sha256: hex(hash.digest()) };
        if (canonicalText(line) !== canonicalText({ seal })) throw new Refusal("3.5");
        summary.root = seal.root;
        sealed = true;
        continue;
      } else {
        checkReceipt(line);
        const key = keyBytes(line);
        const order = line.order ?? 0;
        if (!isAfter(key, order, previous)) throw new Refusal("3.4");
        previous = { key, order };
        root.add(bytes);
        census.add(censusLeaf(line));
        tally(summary, line);
        check.line(line);
      }
      hash.update(bytes).update(LF);
    }
    if (!sealed) throw new Refusal("3.6");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { refused: { line: number, rule: error.rule } };
  }
  check.end();
  return { ...plain(summary), header, reasons: judge(header, summary, census.digest()) };
}

function tally(summary, line) {
  summary.lines += 1;
  count(summary.kinds, line.kind);
  if (line.kind === "skipped") count(summary.skipped, line.reason);
  else count(summary.evidence, line.evidence);
  if (line.kind === "object") summary.bytes += line.size;
  for (const loss of line.losses ?? []) count(summary.losses, loss.name);
  if (line.stored_in?.archive) summary.elsewhere.add(String(line.stored_in.archive));
}

function plain(summary) {
  const { lines, bytes, root, skipped, losses, elsewhere } = summary;
  return { lines, bytes, root, skipped: [...skipped], losses: [...losses], elsewhere: [...elsewhere] };
}

/** Why the export is not proven (3.8); empty when it is. */
function judge(header, summary, censusRoot) {
  const { census, accepts, demands } = header;
  const reasons = [];
  const skips = [...summary.skipped.values()].reduce((a, b) => a + b, 0);
  if (census.lines <= 0 || summary.lines - skips <= 0) reasons.push({ reason: "nothing" });
  if (summary.lines !== census.lines) reasons.push({ reason: "lines", found: summary.lines, expected: census.lines });
  const kinds = Object.entries(census.kinds).filter(([, n]) => n);
  if (kinds.length !== summary.kinds.size || kinds.some(([kind, n]) => summary.kinds.get(kind) !== n)) {
    reasons.push({ reason: "kinds" });
  }
  if (censusRoot !== census.root) reasons.push({ reason: "census" });
  if (!census.unsized && summary.bytes !== census.bytes) {
    reasons.push({ reason: "bytes", found: summary.bytes, expected: census.bytes });
  }
  for (const [name, n] of summary.skipped) if (!accepts.includes(name)) reasons.push({ reason: "skipped", found: n, name });
  const weak = LEVELS.slice(0, LEVELS.indexOf(demands));
  for (const level of weak) {
    if (summary.evidence.has(level)) reasons.push({ reason: "evidence", found: summary.evidence.get(level), name: level });
  }
  if (summary.elsewhere.size) reasons.push({ reason: "delta", name: [...summary.elsewhere].join(", ") });
  return reasons;
}

/** Whether `checkpoint.txt` has the root of this manifest (V19). */
export function isCheckpointOf(bytes, manifest) {
  const root = btoa(String.fromCharCode(...manifest.root.match(/../g).map((pair) => parseInt(pair, 16))));
  const job = manifest.header.job.replace(/^urn:uuid:/, "");
  return new TextDecoder().decode(bytes) === `portability/${job}\n${manifest.lines}\n${root}\n`;
}

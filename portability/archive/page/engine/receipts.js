// One line of the manifest: whether its members make a header or a receipt.

import { Refusal } from "./canonical.js";
import { isArchivePath } from "./names.js";

export const KINDS = ["object", "directory", "link", "delete_marker", "skipped"];
export const LEVELS = ["listed", "reported", "read"];

const HEX = /^[0-9a-f]{64}$/;
const SALT = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
const TEXT_MAPS = ["headers", "metadata", "source_digests", "tags"];
const TYPES = {
  object: ["age", "headers", "host", "metadata", "metadata_b64", "posix", "source_digests", "stored_in", "tags"],
  number: ["attempts", "order", "size"],
  boolean: ["latest"],
  list: ["losses"],
  string: [
    "evidence", "hardlink_to", "key", "kind", "media_type", "modified", "path", "reason", "received_at", "salt",
    "sha256", "storage_class", "target", "version",
  ],
};
const TYPE_OF = new Map(Object.entries(TYPES).flatMap(([type, names]) => names.map((name) => [name, type])));

function typeOf(value) {
  if (Array.isArray(value)) return "list";
  return value === null ? "null" : typeof value;
}

function demand(held, rule) {
  if (!held) throw new Refusal(rule);
}

/** The bytes of a `_b64` member, which must not be valid UTF-8 and which the text beside it approximates. */
function exactBytes(line, name) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(line[`${name}_b64`]), (c) => c.charCodeAt(0));
  } catch {
    throw new Refusal("3.2");
  }
  demand(btoa(String.fromCharCode(...bytes)) === line[`${name}_b64`], "3.2");
  const shown = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  demand(shown === line[name], "3.2");
  let valid = true;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    valid = false;
  }
  demand(!valid, "3.2");
  return bytes;
}

/** The exact key of a line. */
export function keyBytes(line) {
  return "key_b64" in line ? exactBytes(line, "key") : new TextEncoder().encode(line.key);
}

/** Whether it names bytes in another archive: without both members nobody would look for any. */
function isPlace(storedIn) {
  const { archive, path } = storedIn;
  return typeof archive === "string" && archive !== "" && typeof path === "string" && isArchivePath(path);
}

export function checkReceipt(line) {
  demand(["key", "kind", "evidence", "salt"].every((name) => name in line), "3.6");
  for (const [name, value] of Object.entries(line)) {
    const expected = TYPE_OF.get(name);
    demand(!expected || expected === typeOf(value), "3.4");
  }
  demand([0, 3].includes(["version", "latest", "order"].filter((name) => name in line).length), "3.4");
  demand(KINDS.includes(line.kind), "3.4");
  demand(LEVELS.includes(line.evidence), "3.7");
  demand(SALT.test(line.salt), "3.4");
  if (line.kind === "object") {
    demand(HEX.test(line.sha256 ?? "") && line.size >= 0, "3.6");
    demand("path" in line || "stored_in" in line, "3.4");
    demand(!("stored_in" in line) || (!("path" in line) && isPlace(line.stored_in)), "3.4");
  }
  demand(line.kind !== "skipped" || "reason" in line, "3.4");
  demand((line.order ?? 0) >= 0, "3.4");
  demand(!("path" in line) || (isArchivePath(line.path) && !("path_b64" in line)), "V4");
  for (const name of TEXT_MAPS) demand(Object.values(line[name] ?? {}).every((value) => typeof value === "string"), "3.4");
  for (const name of ["hardlink_to", "key", "target"]) if (`${name}_b64` in line) exactBytes(line, name);
  for (const [name, spelled] of Object.entries(line.metadata_b64 ?? {})) {
    demand(name in (line.metadata ?? {}), "3.2");
    exactBytes({ value: line.metadata[name], value_b64: spelled }, "value");
  }
  for (const loss of line.losses ?? []) {
    demand(typeof loss?.name === "string" && ["string", "null"].includes(typeOf(loss.parked)), "3.4");
  }
}

const HEADER = {
  accepts: "list", census: "object", created: "string", demands: "string", destination: "string", format: "string",
  job: "string", source: "string", tool: "object",
};
const CENSUS = { at: "string", bytes: "number", kinds: "object", lines: "number", root: "string", unsized: "number" };

export function checkHeader(line) {
  demand(/^portability-manifest\/1(?:\.\d+)?$/.test(line.format ?? ""), "3.6");
  for (const [name, type] of Object.entries(HEADER)) demand(typeOf(line[name]) === type, "3.3");
  for (const [name, type] of Object.entries(CENSUS)) demand(typeOf(line.census[name]) === type, "3.3");
  demand(LEVELS.includes(line.demands), "3.3");
  demand(line.accepts.every((reason) => typeof reason === "string"), "3.3");
}

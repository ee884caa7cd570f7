// The one byte form of a JSON value. A line that is not in it is refused, which also catches duplicate members and floats.

/** Why a manifest is refused. */
export class Refusal extends Error {
  constructor(rule) {
    super(rule);
    this.rule = rule;
  }
}

// By code point: JavaScript compares UTF-16 units, and surrogates sort before U+E000 to U+FFFF there.
export function byCodePoint(a, b) {
  const surrogates = /[\ud800-\udfff]/;
  if (!surrogates.test(a) && !surrogates.test(b)) return a < b ? -1 : a > b ? 1 : 0;
  const left = Array.from(a, (c) => c.codePointAt(0));
  const right = Array.from(b, (c) => c.codePointAt(0));
  const at = left.findIndex((c, i) => c !== right[i]);
  return at < 0 ? left.length - right.length : left[at] - (right[at] ?? -1);
}

/** The canonical text of a value. */
export function canonicalText(value) {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value)) throw new Refusal("3.2");
    return String(value);
  }
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(",")}]`;
  const names = Object.keys(value).sort(byCodePoint);
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalText(value[name])}`).join(",")}}`;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The JSON object with these canonical bytes. */
export function parseCanonical(bytes) {
  let text;
  let value;
  try {
    text = utf8.decode(bytes);
    value = JSON.parse(text);
    if (canonicalText(value) !== text) throw new Refusal("3.2");
  } catch {
    throw new Refusal("3.2");
  }
  // A lone surrogate cannot be written in UTF-8; an escape for one is the only escape of this kind.
  if (/\\ud[89a-f]/.test(text) && /(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(text)) throw new Refusal("3.2");
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Refusal("3.2");
  return value;
}

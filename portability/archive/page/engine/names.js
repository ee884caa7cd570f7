// Names in an archive: which paths a list may hold, which names every file system can hold, what file managers leave.

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\\]|^(?:~|\/|[A-Za-z]:)|(?:^|\/)\.{0,2}(?:\/|$)/;

/** V4: whether a path cannot lead anywhere else. */
export function isArchivePath(path) {
  return !UNSAFE.test(path) && path.isWellFormed?.() !== false;
}

const LEFT = /(?:^|\/)(?:\.DS_Store|Thumbs\.db|desktop\.ini|\._[^/]*)$/;

/** V18: whether a file manager left this file. */
export function isLeftOver(path) {
  return LEFT.test(path);
}

const FORBIDDEN = /[<>:"\\|?*%]|[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u; // unassigned characters depend on the browser's age
const EDGES = /^\p{Zs}|[\p{Zs}.]$/u;
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)/i;
const LITTER = /^(?:\.ds_store|thumbs\.db|ehthumbs\.db|desktop\.ini|__macosx|\$recycle\.bin|system volume information|\.spotlight-v100|\.trashes|\.fseventsd|\.temporaryitems|\.appledouble)$|^\._/i;
const SHORT = /^(?=[^.]{2,8}(?:\.|$))[^.]*~[0-9]+(?:\.[^.]{0,3})?$/;

/** The first of S1 to S9 that a segment of a payload path breaks. */
export function brokenRule(segment) {
  if (/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9]+)?$/.test(segment) && segment.length <= 200) {
    if (!DEVICE.test(segment) && !/^_long$/i.test(segment) && !LITTER.test(segment)) return undefined; // the fast way through many plain names
  }
  if (segment.normalize("NFC") !== segment) return "S1";
  if (FORBIDDEN.test(segment)) return "S3";
  if (EDGES.test(segment)) return "S4";
  if (DEVICE.test(segment)) return "S5";
  if (LITTER.test(segment)) return "S6";
  if (SHORT.test(segment)) return "S7";
  if (new TextEncoder().encode(segment).length > 200) return "S8";
  return /^_long$/i.test(segment) ? "S9" : undefined;
}

/** What two paths share that some file system takes for the same; upper, then lower case stands for case folding. */
export function fold(path) {
  return path.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");
}

// SHA-256 of files and of short texts: by WebCrypto in one shot, by WebAssembly or plain JavaScript in slices.

import { PlainSha256 } from "./sha256.js";

const SLICE = 4 * 2 ** 20;
const ONE_SHOT = 32 * 2 ** 20;

export const subtle = globalThis.crypto?.subtle;

export function hex(bytes) {
  let text = "";
  for (const byte of bytes) text += (byte < 16 ? "0" : "") + byte.toString(16);
  return text;
}

class WasmSha256 {
  constructor(hasher) {
    this.hasher = hasher.init();
  }

  update(bytes) {
    this.hasher.update(bytes);
    return this;
  }

  digest() {
    return this.hasher.digest("binary");
  }
}

/** A fresh incremental hash. */
export async function newSha256() {
  try {
    return new WasmSha256(await globalThis.hashwasm.createSHA256());
  } catch {
    return new PlainSha256(); // no WebAssembly here, or a policy forbids it
  }
}

let shared; // one WebAssembly instance for all short texts
export async function prepareHashing() {
  try {
    shared = await globalThis.hashwasm.createSHA256();
  } catch {
    shared = undefined;
  }
}

/** SHA-256 of short texts, one after the other, at once. */
export function sha256(...parts) {
  const hash = shared ? new WasmSha256(shared) : new PlainSha256();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The pieces of a file, the next one being read while the caller works on this one. */
export async function* slices(file) {
  let next = file.slice(0, SLICE).arrayBuffer();
  for (let at = 0; at < file.size; at += SLICE) {
    const piece = new Uint8Array(await next);
    if (at + SLICE < file.size) {
      next = file.slice(at + SLICE, at + 2 * SLICE).arrayBuffer();
      next.catch(() => {}); // the await above reports it
    }
    yield piece;
  }
}

/** The digest of a file in hex; `progress` is called with the bytes read since the last call. */
export async function hashFile(file, progress) {
  if (subtle && file.size <= ONE_SHOT) {
    const bytes = await file.arrayBuffer();
    const digest = await subtle.digest("SHA-256", bytes);
    progress(bytes.byteLength);
    return hex(new Uint8Array(digest));
  }
  const hash = await newSha256();
  for await (const piece of slices(file)) {
    hash.update(piece);
    progress(piece.length);
  }
  return hex(hash.digest());
}

const LANES = 16;
const BUDGET = 2 * ONE_SHOT;

/** Work on all items, several at once, with a bounded number of bytes in memory. */
export async function eachFile(items, work) {
  const running = new Set();
  let used = 0;
  for (const item of items) {
    const cost = Math.min(item.file.size, ONE_SHOT);
    while (running.size && (running.size >= LANES || used + cost > BUDGET)) await Promise.race(running);
    used += cost;
    const task = work(item).finally(() => {
      used -= cost;
      running.delete(task);
    });
    running.add(task);
  }
  await Promise.all(running);
}

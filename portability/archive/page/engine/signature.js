// The signature: SSHSIG with Ed25519, as `ssh-keygen -Y sign` makes it, checked by WebCrypto or by bundled code.

import { sha256, subtle } from "./hashing.js";
import { plainSha512 } from "./sha512.js";
import { nobleEd25519 } from "../vendor/noble-ed25519-3.2.0.js";

const NAMESPACE = "portability-archive-v1";
const ARMOUR = /^-----BEGIN SSH SIGNATURE-----\r?\n([A-Za-z0-9+/=\r\n]+)\r?\n-----END SSH SIGNATURE-----\s*$/;

const latin = (bytes) => String.fromCharCode(...bytes);
const fromLatin = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));

function joined(...parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function sshString(bytes) {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return joined(length, bytes);
}

class Parts {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(count) {
    if (this.at + count > this.bytes.length) throw new Error("cut");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  string() {
    const length = this.take(4);
    return this.take(new DataView(length.buffer, length.byteOffset).getUint32(0));
  }

  end() {
    if (this.at !== this.bytes.length) throw new Error("trailing bytes");
  }
}

function parseSignature(armoured) {
  const match = ARMOUR.exec(armoured);
  if (!match) throw new Error("no SSH signature");
  const parts = new Parts(fromLatin(atob(match[1].replace(/[\r\n]/g, ""))));
  if (latin(parts.take(6)) !== "SSHSIG" || latin(parts.take(4)) !== "\0\0\0\x01") throw new Error("version");
  const blob = parts.string();
  if (latin(parts.string()) !== NAMESPACE) throw new Error("namespace");
  if (parts.string().length) throw new Error("reserved field");
  const hashName = latin(parts.string());
  if (hashName !== "sha512" && hashName !== "sha256") throw new Error("hash");
  const inner = new Parts(parts.string());
  parts.end();
  const key = new Parts(blob);
  if (latin(key.string()) !== "ssh-ed25519" || latin(inner.string()) !== "ssh-ed25519") throw new Error("key type");
  const raw = key.string();
  key.end();
  const signature = inner.string();
  inner.end();
  if (raw.length !== 32 || signature.length !== 64) throw new Error("length");
  return { blob, raw, signature, hashName };
}

async function sha512(bytes) {
  return subtle ? new Uint8Array(await subtle.digest("SHA-512", bytes)) : plainSha512(bytes);
}

async function isEd25519(raw, signature, message) {
  let key;
  try {
    key = await subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
  } catch {
    nobleEd25519.hashes.sha512 = plainSha512; // this browser does not know Ed25519
    return nobleEd25519.verify(signature, message, raw, { zip215: false });
  }
  return subtle.verify("Ed25519", key, signature, message);
}

/** `{state: "valid", fingerprint}` or `{state: "invalid"}`; whether to trust the key is for people. */
export async function checkSignature(armoured, message) {
  try {
    const { blob, raw, signature, hashName } = parseSignature(armoured);
    const hashed = hashName === "sha512" ? await sha512(message) : sha256(message);
    const fields = [fromLatin(NAMESPACE), new Uint8Array(), fromLatin(hashName), hashed];
    const signed = joined(fromLatin("SSHSIG"), ...fields.map(sshString));
    if (!(await isEd25519(raw, signature, signed))) return { state: "invalid" };
    return { state: "valid", fingerprint: `SHA256:${btoa(latin(sha256(blob))).replace(/=+$/, "")}` };
  } catch {
    return { state: "invalid" };
  }
}

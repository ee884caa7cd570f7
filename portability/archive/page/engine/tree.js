// The Merkle tree of RFC 6962 over lines, in memory of the logarithm of their number.

import { hex, sha256 } from "./hashing.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export class TreeRoot {
  constructor() {
    this.count = 0;
    this.peaks = []; // roots of the complete subtrees so far, largest first
  }

  add(bytes) {
    let node = sha256(LEAF, bytes);
    for (let count = this.count; count % 2 === 1; count = Math.floor(count / 2)) {
      node = sha256(NODE, this.peaks.pop(), node);
    }
    this.peaks.push(node);
    this.count += 1;
  }

  digest() {
    if (!this.peaks.length) return hex(sha256());
    return hex(this.peaks.reduceRight((node, peak) => sha256(NODE, peak, node)));
  }
}

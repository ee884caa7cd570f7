// The engine as a worker: this script runs in the page, and the same text in a worker made from it.

import { verifyArchive } from "./verify.js";

if (typeof document === "undefined") {
  const files = new Map();
  self.onmessage = async ({ data }) => {
    if (data.files) {
      for (const [path, file] of data.files) files.set(path, file);
      return;
    }
    try {
      self.postMessage({ report: await verifyArchive(files, (progress) => self.postMessage({ progress })) });
    } catch (error) {
      self.postMessage({ failure: String(error) });
    }
  };
  self.postMessage({ ready: true });
}

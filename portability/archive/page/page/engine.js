// Runs the engine: in a worker made from its own text where the browser allows one, in the page otherwise.

import { verifyArchive } from "../engine/verify.js";

const BATCH = 2000;
const PATIENCE = 3000; // milliseconds until a worker that does not start is given up

function startWorker() {
  return new Promise((resolve, reject) => {
    const text = document.getElementById("engine").textContent;
    const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const worker = new Worker(address);
    const timer = setTimeout(() => reject(new Error("no answer")), PATIENCE);
    const settled = () => {
      clearTimeout(timer);
      URL.revokeObjectURL(address);
    };
    worker.onmessage = () => {
      settled();
      resolve(worker);
    };
    worker.onerror = (event) => {
      settled();
      reject(new Error(event.message));
    };
  });
}

/** A verification under way: its report as a promise, and how to stop it. */
export function runEngine(files, notify) {
  let stop;
  const stopped = new Promise((resolve) => { stop = () => resolve({ stopped: true }); });
  let worker;
  const work = async () => {
    try {
      worker = await startWorker();
    } catch {
      return { report: await verifyArchive(files, notify), where: "page" };
    }
    const answer = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.progress) notify(data.progress);
        else if (data.report) resolve({ report: data.report, where: "worker" });
        else reject(new Error(data.failure));
      };
      worker.onerror = (event) => reject(new Error(event.message));
    });
    const all = [...files];
    for (let at = 0; at < all.length; at += BATCH) worker.postMessage({ files: all.slice(at, at + BATCH) });
    worker.postMessage({ start: true });
    return answer;
  };
  const outcome = Promise.race([work(), stopped]).finally(() => worker?.terminate());
  return { outcome, stop };
}

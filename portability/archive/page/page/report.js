// A report in words: lines with a mark, problems, and the whole as text to copy.

import { TEXTS, shownName, sizeText } from "./texts.js";

/** "intact", "unproven" or "altered", the exit code, and what the fingerprint from paper adds to the findings. */
export function judgeReport(report, paper) {
  const findings = [...report.findings];
  const counts = { ...report.counts };
  let code = report.code;
  const { state, fingerprint } = report.signature;
  if (paper && (state === "absent" || (state === "valid" && fingerprint !== paper))) {
    const problem = state === "absent" ? "unsignedPaper" : "otherKey";
    findings.unshift({ rule: "V22", code: 6, problem });
    counts[problem] = 1;
    code = 6;
  }
  const verdict = code === 0 ? "intact" : code === 3 ? "unproven" : "altered";
  return { verdict, code, findings, counts };
}

/** The lines of the result: id, mark and text. */
export function reportLines(report, paper, language) {
  const t = TEXTS[language];
  const number = (n) => n.toLocaleString(language);
  const numbers = (values) => Object.fromEntries(Object.entries(values).map(([name, n]) => [name, number(n)]));
  const lines = [];
  const add = (id, mark, text, more) => lines.push({ id, mark, text, more });

  if (report.tags) {
    add("tags", report.tags.intact === report.tags.listed ? "ok" : "bad", t.tags(numbers(report.tags)));
    add("data", report.data.intact === report.data.listed ? "ok" : "bad", t.data(numbers(report.data)));
    const { missing, extra, left } = report.set;
    add("set", missing || extra ? "bad" : left ? "warn" : "ok", t.set(numbers(report.set)));
  } else {
    add("data", "bad", t.notCompared);
  }
  if (report.manifest) {
    const [mark, text] = manifestLine(report, t, number, language);
    add("manifest", mark, text);
  }
  add("signature", ...signatureLine(report.signature, paper, t));
  return lines;
}

function manifestLine({ manifest, findings }, t, number, language) {
  if (manifest.encrypted) return ["warn", t.encrypted];
  const broken = ["manifest", "checkpoint", "notInPayload", "notInManifest"];
  if (!manifest.header || findings.some(({ problem }) => broken.includes(problem))) return ["bad", t.badManifest];
  const values = {
    lines: number(manifest.lines),
    level: t.levels[manifest.header.demands],
    bytes: sizeText(manifest.bytes, language),
    losses: t.pairs(manifest.losses),
    skipped: t.pairs(manifest.skipped),
    reasons: manifest.reasons.map((r) => t.reasons[r.reason](r)).join(", "),
  };
  const sentence = manifest.reasons.length ? t.notProven(values) : t.proven(values);
  return [manifest.reasons.length ? "warn" : "ok", manifest.header.selection ? `${sentence} ${t.partial}` : sentence];
}

function signatureLine({ state, fingerprint }, paper, t) {
  if (state === "invalid") return ["bad", t.badSignature];
  if (state === "absent") return paper ? ["bad", t.unsigned, t.unsignedPaper] : ["warn", t.unsigned];
  const signed = t.signed(fingerprint);
  if (!paper) return ["warn", signed, t.trust];
  return paper === fingerprint ? ["ok", signed, t.samePaper] : ["bad", signed, t.otherPaper];
}

/** Findings or notes by problem: title, how many, the names known, the code. */
export function grouped(findings, counts, language) {
  const t = TEXTS[language];
  const groups = new Map();
  for (const finding of findings) {
    const group = groups.get(finding.problem) ?? { title: t.problems[finding.problem], rule: finding.rule, names: [] };
    const parts = [finding.name && shownName(finding.name), finding.line && t.line(finding.line), finding.detail && shownName(finding.detail)];
    if (finding.problem === "oxum") parts.push(`${shownName(finding.expected) || "-"} ≠ ${finding.found}`);
    const name = parts.filter(Boolean).join(", ");
    if (name) group.names.push(name);
    group.count = counts?.[finding.problem] ?? (group.count ?? 0) + 1;
    groups.set(finding.problem, group);
  }
  return [...groups.values()];
}

/** Everything, as text to copy. */
export function reportText(result, language) {
  const t = TEXTS[language];
  const { report, judged, paper, folder, when } = result;
  const out = [t[judged.verdict], ""];
  for (const { text, more } of reportLines(report, paper, language)) out.push(...[text, more].filter(Boolean));
  for (const [title, groups] of [
    ["problemsTitle", grouped(judged.findings, judged.counts, language)],
    ["notesTitle", grouped(report.notes, undefined, language)],
  ]) {
    const total = groups.reduce((sum, { count }) => sum + count, 0);
    if (!total) continue;
    out.push("", t[title](total));
    for (const { title: text, rule, names, count } of groups) {
      out.push(`- ${text}${rule ? ` (${rule})` : ""} : ${count}`, ...names.slice(0, 20).map((name) => `    ${name}`));
      if (names.length > 20) out.push(`    ${t.more(count - 20)}`);
    }
  }
  out.push("", `${t.folder} : ${shownName(folder)}`);
  if (report.archiveId) out.push(`${t.identity} : ${report.archiveId}`);
  out.push(`${t.when} : ${when.toISOString()}`, `${t.exit} : ${judged.code}`, "", t.caveat, t.links);
  return `${out.join("\n")}\n`;
}

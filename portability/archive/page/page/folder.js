// The files of the folder that a person chose or dropped: path relative to the folder, and File.

/** From `<input webkitdirectory>`. */
export function filesOfInput(list) {
  const files = new Map();
  let folder = "";
  for (const file of list) {
    const [first, ...rest] = file.webkitRelativePath.split("/");
    folder = first;
    files.set(rest.join("/"), file);
  }
  return { folder, files };
}

/** From a drop. Browsers offer two ways and some refuse one of them on pages opened from a disk. */
export function filesOfDrop(transfer) {
  const item = [...transfer.items].find(({ kind }) => kind === "file");
  const entry = item?.webkitGetAsEntry?.();
  const handle = item?.getAsFileSystemHandle?.(); // both must be asked for before anything is awaited
  return gather(entry, handle);
}

async function gather(entry, handle) {
  const files = new Map();
  try {
    const root = await handle;
    if (root?.kind === "directory") {
      await walkHandle(root, "", files);
      return { folder: root.name, files };
    }
  } catch {
    files.clear(); // the other way is tried
  }
  if (entry?.isDirectory) await walkEntry(entry, "", files);
  return { folder: entry?.name ?? "", files };
}

async function walkHandle(folder, prefix, files) {
  for await (const [name, child] of folder.entries()) {
    if (child.kind === "directory") await walkHandle(child, `${prefix}${name}/`, files);
    else files.set(prefix + name, await child.getFile());
  }
}

async function walkEntry(folder, prefix, files) {
  const reader = folder.createReader();
  for (;;) {
    const children = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!children.length) return; // it answers in portions
    for (const child of children) {
      if (child.isDirectory) await walkEntry(child, `${prefix}${child.name}/`, files);
      else files.set(prefix + child.name, await new Promise((resolve, reject) => child.file(resolve, reject)));
    }
  }
}

// The basket's hits, kept in this browser: what somebody has collected over several questions, in an order of his own.

const key = "cezsar-basket";
const mostUndone = 20;
export const mostHits = 10_000;
export const longestNote = 1000; // characters
const longestLink = 6000; // characters of an address that is passed on

const listeners = [];
const undone = []; // earlier baskets
let hits = null;
let broken = 0; // entries that were kept and are none
let isKept = true; // whether this browser keeps them

export function onChange(listener) {
  // listener gets whether the change was made quietly, by one who knows
  listeners.push(listener);
}

export function collected() {
  return hits ??= read();
}

export function trouble() {
  // what is wrong with what this browser keeps, in one line; empty if nothing is
  if (broken) return `${broken} broken ${broken === 1 ? "entry" : "entries"} of the kept basket could not be read.`;
  return isKept ? "" : "This browser keeps no basket: it is lost when the page is closed.";
}

function read() {
  broken = 0;
  try {
    const text = localStorage.getItem(key);
    if (!text) return [];
    const found = JSON.parse(text);
    if (!Array.isArray(found)) throw new SyntaxError("no list");
    const sound = found.filter(isSound).slice(0, mostHits);
    broken = found.length - sound.length;
    return sound;
  } catch (error) {
    if (error instanceof SyntaxError) broken = 1; else isKept = false;
    return [];
  }
}

function isSound(one) {
  return one && [one.segment_id, one.video_id].every((id) => Number.isSafeInteger(id) && id > 0)
    && [one.start_s, one.end_s].every(Number.isFinite) && one.start_s >= 0 && one.start_s < one.end_s
    && typeof one.note === "string" && one.note.length <= longestNote && typeof one.path === "string"
    && ["string", "undefined"].includes(typeof one.path_bytes);
}

export function change(next, { quietly = false } = {}) {
  undone.push(collected());
  if (undone.length > mostUndone) undone.shift();
  put(next, quietly);
}

export function undo() {
  if (undone.length) put(undone.pop(), false);
}

export function canUndo() {
  return undone.length > 0;
}

function put(next, quietly) {
  hits = next;
  broken = 0;
  try {
    localStorage.setItem(key, JSON.stringify(next));
    isKept = true;
  } catch { // it is full, or forbidden
    isKept = false;
  }
  for (const listener of listeners) listener(quietly);
}

export function entry(hit, note) {
  const { segment_id, video_id, start_s, end_s, path, path_bytes } = hit;
  return { segment_id, video_id, start_s, end_s, path, ...(path_bytes && { path_bytes }), note: note.slice(0, longestNote) };
}

export function isCollected(hit) {
  return collected().some((one) => one.segment_id === hit.segment_id);
}

export function link(base) {
  // An address that brings the basket along; null if it is too long for one.
  const next = new URL(base);
  for (const { segment_id, start_s, end_s, note } of collected()) {
    const times = [start_s, end_s].map((time) => Number(time.toFixed(6)));
    next.searchParams.append("basket", [segment_id, ...times, note].join("_"));
    if (next.href.length > longestLink) return null;
  }
  return next.href;
}

export function brought(words) {
  // what such an address says of one hit; null if it is none
  const found = /^(\d{1,16})_(\d{1,10}(?:\.\d+)?)_(\d{1,10}(?:\.\d+)?)_(.*)$/s.exec(words);
  if (!found) return null;
  const [segment_id, start_s, end_s] = found.slice(1, 4).map(Number);
  return segment_id > 0 && start_s < end_s ? { segment_id, start_s, end_s, note: found[4].slice(0, longestNote) } : null;
}

addEventListener("storage", (event) => { // another tab has changed it
  if (event.key !== key && event.key !== null) return;
  hits = null;
  for (const listener of listeners) listener(false);
});

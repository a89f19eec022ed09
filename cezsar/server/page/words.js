// Texts of times, names and command lines.

export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, tenths % 600];
  const end = `${String(Math.floor(rest / 10)).padStart(2, "0")}.${rest % 10}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${end}` : `${minutes}:${end}`;
}

export function range(part) {
  return `${clock(part.start_s)} to ${clock(part.end_s)}`;
}

function short(seconds) {
  const whole = Math.floor(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, String(whole % 60).padStart(2, "0")];
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function brief(part) {
  // a range to be seen at a glance: whole seconds, where these differ
  const [start, end] = [short(part.start_s), short(Math.ceil(part.end_s))];
  return start === end ? range(part) : `${start} – ${end}`;
}

export function length(seconds) {
  if (seconds < 59.5) return `${seconds < 9.95 ? Number(seconds.toFixed(1)) : Math.round(seconds)} s`;
  return short(Math.round(seconds));
}

export function counted(count, name) {
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

export function strength(confidence, threshold) {
  // a word for how likely it is that a hit shows what was asked
  if (confidence < threshold) return "weak";
  return confidence < 0.5 ? "likely" : "strong";
}

export function readable(path) {
  // control characters, and those that turn the direction of writing, as what they are
  return path.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200c\u200e-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function parted(hit) {
  return hit.path.split(hit.path.startsWith("/") ? "/" : /[\\/]/);
}

export function named(hit) {
  return readable(parted(hit).pop());
}

export function folder(hit) {
  return readable(parted(hit).at(-2) ?? "");
}

function escaped(text, odd, digits) {
  return `$'${text.replace(odd, (one) => (one === "'" || one === "\\" ? `\\${one}`
    : `\\${digits === 2 ? "x" : "u"}${one.charCodeAt(0).toString(16).padStart(digits, "0")}`))}'`;
}

export function quoted(word) {
  // what a shell takes for this word; control characters never reach a terminal as themselves
  if (/[\u0000-\u001f\u007f-\u009f]/.test(word)) return escaped(word, /[\\'\u0000-\u001f\u007f-\u009f]/g, 4);
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

export function quotedPath(hit) {
  return hit.path_bytes ? escaped(atob(hit.path_bytes), /[^ -&(-[\]-~]/g, 2) : quoted(hit.path);
}

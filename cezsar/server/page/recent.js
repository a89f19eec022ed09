// The latest searches, kept in this browser alone.

const key = "cezsar.recent";
const most = 8;

export function recent() {
  try {
    const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
    return kept.filter((one) => typeof one?.words === "string" && /^\?/.test(one.search));
  } catch {
    return []; // the browser keeps nothing, or somebody else's
  }
}

export function remember(asked) {
  // a search by words; what is only shown differently is no other one
  const query = new URLSearchParams(asked);
  for (const name of ["view", "labels", "k", "group", "more", "less"]) query.delete(name);
  if (!query.get("text") || query.get("like") || query.get("example")) return;
  const search = `?${query}`;
  const words = [query.get("text"), ...query.getAll("then")].join(" → ");
  keep([{ search, words }, ...recent().filter((one) => one.search !== search)].slice(0, most));
}

export function forget(search) {
  keep(recent().filter((one) => one.search !== search));
}

function keep(searches) {
  try {
    localStorage.setItem(key, JSON.stringify(searches));
  } catch {
    // the browser keeps nothing
  }
}

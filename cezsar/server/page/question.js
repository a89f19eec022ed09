// What the address bar asks: as a query of the API, and as a command.

import { quoted, quotedPath } from "./words.js";

export const fewHits = 24;
export const mostHits = 1000;
export const fields = ["text", "not", "path", "not_path", "since", "until", "min_length", "max_length", "min_score",
  "per_video", "k"]; // that the form holds
const lists = ["not", "not_path"]; // several in one field, with semicolons between them
const repeated = ["then", "more", "less"];

export function asked() {
  return new URLSearchParams(location.search);
}

export function listed(name) {
  return asked().getAll(name).flatMap((value) => value.split(";")).map((one) => one.trim()).filter(Boolean);
}

export function view() {
  const named = asked().get("view");
  if (named) return named;
  return asked().has("labels") ? "classify" : "search";
}

export function isAsked() {
  return ["text", "like", "example"].some((name) => asked().get(name));
}

export function isGrouped() {
  return asked().get("group") === "1";
}

export function question() {
  const query = new URLSearchParams();
  const given = asked();
  for (const name of [...fields, "like", "example", "literal"]) {
    if (!lists.includes(name) && given.get(name)) query.set(name, given.get(name));
  }
  query.set("k", given.get("k") || String(fewHits));
  if (isGrouped() && !given.get("per_video")) query.set("per_video", "0");
  for (const name of lists) for (const one of listed(name)) query.append(name, one);
  for (const name of repeated) for (const one of given.getAll(name)) if (one.trim()) query.append(name, one);
  if (query.has("then") && given.get("within")) query.set("within", given.get("within"));
  return query;
}

export function commanded(query, { example, picture, index }) {
  // what the command line is asked for the same hits; example is the segment that they are like, picture the file's name
  const words = ["cezsar", "query", "--top-k", query.get("k")];
  const options = ["not", "path", "not_path", "since", "until", "min_length", "max_length", "min_score", "per_video",
    "then", "within", "more", "less"];
  for (const name of options) {
    for (const value of query.getAll(name)) words.push(`--${name.replaceAll("_", "-")}`, quoted(value));
  }
  if (query.has("literal")) words.push("--literal");
  if (index) words.push("--index", quoted(index));
  if (example) words.push("--like", `${quotedPath(example)}@${example.start_s}-${example.end_s}`);
  if (query.has("example")) words.push("--like", quoted(picture));
  const text = query.get("text");
  if (text) words.push(...(text.startsWith("-") ? ["--"] : []), quoted(text));
  return words.join(" ");
}

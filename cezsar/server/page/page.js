// What the address bar holds is what is asked: the search, its hits, and their classes.

import { card, copy } from "./cards.js";
import { classify, legend } from "./classes.js";
import { stop } from "./player.js";
import { complain, say, settle, told } from "./talk.js";
import { clock, counted, named, quoted, quotedPath, range } from "./words.js";

const form = document.getElementById("search");
const cards = document.getElementById("cards");
const results = document.getElementById("results");
const telling = document.getElementById("classify");
const labels = document.getElementById("labels");
const command = document.getElementById("command");
const further = document.getElementById("further");
const fields = ["text", "not", "path", "min_score", "per_video", "k"];
const fewHits = 24;
const mostHits = 1000;
let asking = null; // what is being asked for; a newer question ends it
let shown = []; // the hits
let nothing = false; // whether none of them is like what was asked
let shownFor = null; // the question that they answer
let example = null; // the segment that they are like
let address = null; // what was read last
let about = null; // the index

function index() {
  // what it holds, asked for once, after what is waited for; null where there is none, which a search says too
  return about ??= told("/stats").catch(() => null);
}

function asked() {
  return new URLSearchParams(location.search);
}

function question() {
  const query = new URLSearchParams();
  for (const name of ["text", "path", "min_score", "per_video", "like"]) {
    if (asked().get(name)) query.set(name, asked().get(name));
  }
  query.set("k", asked().get("k") || String(fewHits));
  for (const part of (asked().get("not") || "").split(";")) {
    if (part.trim()) query.append("not", part.trim());
  }
  return query;
}

function go(changes) {
  const next = asked();
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value); else next.delete(name);
    if (fields.includes(name)) form.elements[name].value = value;
  }
  const search = next.toString();
  if (search !== asked().toString()) history.pushState(null, "", search ? `?${search}` : location.pathname);
  read();
}

function come() {
  // from elsewhere, back or forward: what is typed and not yet asked goes
  if (location.search === address) return; // only to another place of this page
  for (const name of fields) form.elements[name].value = asked().get(name) || "";
  if (fields.slice(1).some((name) => asked().get(name))) document.getElementById("filters").open = true;
  labels.value = asked().get("labels") || "";
  read();
}

async function read() {
  address = location.search;
  document.title = asked().get("text") ? `${asked().get("text")} - CEZSAR` : "CEZSAR";
  sayExample();
  asking?.abort();
  const mine = asking = new AbortController();
  try {
    if (shownFor !== question().toString()) await search(mine.signal);
    if (shown.length) await tell(mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) complain(error.message);
  }
  if (asking === mine) cards.removeAttribute("aria-busy");
  index();
}

function sayExample() {
  const like = document.getElementById("like");
  const id = asked().get("like");
  like.hidden = !id;
  const isKnown = example && String(example.segment_id) === id;
  like.querySelector("span").textContent = isKnown ? `${named(example)}, ${range(example)}` : `segment ${id}`;
}

async function search(signal) {
  const query = question();
  if (!query.get("text") && !query.get("like")) {
    show({ hits: [] }, query, null);
    const hint = "Say in a few words what should be seen.";
    say(hint);
    const held = await index();
    if (signal.aborted || !held) return;
    say(held.videos ? `${hint} ${counted(held.videos, "video")}, ${clock(held.duration_s)} in all.`
      : "The index holds no video yet: `cezsar index PATH` adds some.");
    return;
  }
  cards.setAttribute("aria-busy", "true");
  say("Searching.");
  try {
    const like = query.get("like") && await told(`/segments/${query.get("like")}`, { signal });
    const found = await told(`/search?${query}`, { signal });
    show(found, query, like);
  } catch (error) {
    if (!signal.aborted) show({ hits: [] }, null, null);
    throw error;
  }
  settle(summary(0));
}

function summary(numClassified) {
  if (!shown.length) return "No moment matches: loosen the filters, or say it in other words.";
  const both = example && asked().get("text") ? ", by the text and by what they are to be like" : "";
  const also = numClassified ? ` ${counted(numClassified, "video")} classified.` : "";
  const told = `${counted(shown.length, "moment")}, best first${both}.${also}`;
  return nothing ? `Nothing like it; the nearest are: ${told}` : told;
}

function show({ hits, threshold, nothing_like_it }, query, like) {
  const isMore = query && shownFor && stem(shownFor) === stem(query);
  const kept = document.activeElement;
  stop();
  shown = hits;
  nothing = nothing_like_it;
  example = like;
  sayExample();
  shownFor = query && query.toString();
  cards.replaceChildren(...hits.map((hit) => card(hit, threshold, () => go({ like: hit.segment_id, text: "" }))));
  telling.hidden = command.hidden = hits.length === 0;
  document.getElementById("legend").hidden = true;
  further.hidden = hits.length < Number(query?.get("k") ?? 1) || hits.length >= mostHits;
  if (!isMore) scrollTo(0, 0);
  if (!kept?.isConnected) results.focus({ preventScroll: true }); // it went with the cards
}

function stem(query) {
  const kept = new URLSearchParams(query);
  kept.delete("k");
  return kept.toString();
}

async function tell(signal) {
  const typed = asked().get("labels") || "";
  const names = [...new Set(typed.split(",").map((one) => one.trim()).filter(Boolean))];
  for (const made of cards.children) made.querySelector(".classes").hidden = true;
  legend(names);
  if (!names.length) {
    settle(summary(0));
    if (typed) complain("Give some labels, with commas between them.");
    return;
  }
  say("Classifying.");
  settle(summary(await classify(names, [...cards.children], signal)));
}

async function commanded() {
  // what the command line would be asked for the same hits
  const query = question();
  const words = ["cezsar", "query", "--top-k", query.get("k")];
  const options = { "--not": query.getAll("not"), "--path": [query.get("path")], "--min-score": [query.get("min_score")],
    "--per-video": [query.get("per_video")], "--index": [(await index())?.index] };
  for (const [option, values] of Object.entries(options)) {
    for (const value of values) if (value) words.push(option, quoted(value));
  }
  if (example) words.push("--like", `${quotedPath(example)}@${example.start_s}-${example.end_s}`);
  const text = query.get("text");
  if (text) words.push(...(text.startsWith("-") ? ["--"] : []), quoted(text));
  return words.join(" ");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  shownFor = null; // the index may have changed
  go(Object.fromEntries(fields.map((name) => [name, form.elements[name].value.trim()])));
});
form.addEventListener("invalid", () => { document.getElementById("filters").open = true; }, true); // it may be there
document.querySelector("#like button").addEventListener("click", () => {
  go({ like: "" });
  form.elements.text.focus();
});
command.addEventListener("click", async (event) => copy(event.target, await commanded()));
telling.addEventListener("submit", (event) => {
  event.preventDefault();
  go({ labels: labels.value.trim() });
});
further.addEventListener("click", () => {
  go({ k: String(Math.min(mostHits, Number(question().get("k")) + fewHits)) });
});
addEventListener("popstate", come);
come();

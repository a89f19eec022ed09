// What the address bar holds is what is shown: a view, the search in it, its hits, and their classes.

import { browse, browsed, isWhole } from "./browse.js";
import { card, skeletons } from "./cards.js";
import { classify, legend } from "./classes.js";
import { exampleName, takePictures } from "./example.js";
import { readLines, showChips, showLines } from "./filters.js";
import { land } from "./landing.js";
import { stop } from "./player.js";
import { asked, commanded, fewHits, fields, isAsked, isGrouped, mostHits, question, view } from "./question.js";
import { remember } from "./recent.js";
import { complain, copy, element, say, settle, told } from "./talk.js";
import { counted, length, named, readable } from "./words.js";

const form = document.getElementById("search");
const cards = document.getElementById("cards");
const results = document.getElementById("results");
const telling = document.getElementById("classify");
const labels = document.getElementById("labels");
const tools = document.getElementById("tools");
const further = document.getElementById("further");
let asking = null; // what is being asked for; a newer question ends it
let shown = []; // the hits
let nothing = false; // whether none of them is like what was asked
let understood = []; // what was read otherwise than it stands
let shownFor = null; // the question that they answer
let example = null; // the segment that they are like
let address = null; // what was read last
let about = null; // the index

function index() {
  // what it holds, asked for once, after what is waited for; null where there is none, which a search says too
  return about ??= told("/stats").catch(() => null);
}

function go(changes) {
  const next = asked();
  for (const [name, value] of Object.entries(changes)) {
    next.delete(name);
    for (const one of [value].flat()) if (one) next.append(name, one);
    if (fields.includes(name)) form.elements[name].value = value ?? "";
    if (name === "labels") labels.value = value ?? "";
  }
  const search = next.toString();
  if (search !== asked().toString()) history.pushState(null, "", search ? `?${search}` : location.pathname);
  read();
}

function come() {
  // from elsewhere, back or forward: what is typed and not yet asked goes
  if (location.search === address) return; // only to another place of this page
  for (const name of fields) form.elements[name].value = asked().getAll(name).join("; ");
  labels.value = asked().get("labels") || "";
  showLines();
  read();
}

async function read() {
  address = location.search;
  document.title = asked().get("text") ? `${asked().get("text")} - CEZSAR` : "CEZSAR";
  showView();
  if (!shownFor || stem(shownFor) !== stem(shape())) understood = []; // of another question
  showAsked();
  asking?.abort();
  const mine = asking = new AbortController();
  try {
    if (shownFor !== shape()) await { hits: search, videos: look, landing: open }[kind()](mine.signal);
    if (shown.length) await tell(mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) complain(error.message);
  }
  if (asking === mine) cards.removeAttribute("aria-busy");
  index();
}

function kind() {
  if (isAsked() && view() !== "browse") return "hits";
  return view() === "search" ? "landing" : "videos";
}

function showView() {
  for (const link of document.querySelectorAll("#views a")) {
    const next = asked();
    for (const name of ["labels", "view", "folder", "folder_bytes", "order"]) next.delete(name);
    if (link.dataset.view !== "search") next.set("view", link.dataset.view);
    link.href = next.size ? `/?${next}` : "/";
    if (link.dataset.view === view()) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  telling.hidden = view() !== "classify";
  document.getElementById("group").setAttribute("aria-pressed", String(isGrouped()));
}

function shape() {
  // what is asked, and how it is laid out
  if (kind() === "hits") return `${question()}${isGrouped() ? " grouped" : ""}`;
  return kind() === "videos" ? `videos ${browsed()}` : "landing";
}

function showAsked() {
  showChips({ example, understood, go });
}

async function open(signal) {
  // nothing is asked: what there is
  const hint = "Say in a few words what should be seen.";
  clear();
  document.getElementById("landing").hidden = false;
  say(hint);
  await land(signal, whole);
  if (signal.aborted) return;
  shownFor = shape();
  const held = await index();
  if (signal.aborted || !held) return;
  say(held.videos ? `${hint} ${counted(held.videos, "video")}, ${length(held.duration_s)} in all.`
    : "The index holds no video yet: `cezsar index PATH` adds some.");
}

async function look(signal, after) {
  // a page of videos
  if (after === undefined) clear();
  document.getElementById("browse").hidden = false;
  say("Looking.");
  const videos = await browse(browsed(), { signal, lay: whole, after, go });
  if (signal.aborted) return;
  shown = after === undefined ? videos : [...shown, ...videos];
  shownFor = shape();
  further.hidden = isWhole(videos);
  further.firstElementChild.textContent = "More videos";
  settle(summary(0));
}

function whole(video) {
  // the card of a whole video
  const hit = { ...video, start_s: 0, end_s: video.duration_s };
  return card(hit, { go, onLike: () => go({ like: hit.segment_id, text: "", then: [], view: "" }) });
}

function clear() {
  stop();
  shown = understood = [];
  nothing = false;
  example = shownFor = null;
  cards.replaceChildren();
  for (const id of ["landing", "browse", "tools", "nothing", "legend", "further"]) document.getElementById(id).hidden = true;
}

async function search(signal) {
  const query = question();
  const wanted = shape();
  const before = shownFor;
  shownFor = null; // from here on what was shown is not there any more, whether the answer comes or not
  for (const id of ["landing", "browse"]) document.getElementById(id).hidden = true;
  if (!shown.length || shown[0].score === undefined) cards.replaceChildren();
  if (!cards.children.length) cards.replaceChildren(...skeletons(8));
  cards.setAttribute("aria-busy", "true");
  say("Searching.");
  try {
    const like = query.get("like") && await told(`/segments/${query.get("like")}`, { signal });
    const found = await told(`/search?${query}`, { signal });
    show(found, query, like, wanted, before);
  } catch (error) {
    if (!signal.aborted) clear();
    throw error;
  }
  remember(location.search);
  settle(summary(0));
}

function summary(numClassified) {
  if (kind() === "videos") {
    const also = numClassified ? ` ${counted(numClassified, "video")} classified.` : "";
    return shown.length ? `${counted(shown.length, "video")}${further.hidden ? "" : " so far"}.${also}` : "No video is here.";
  }
  if (!shown.length) return "No moment matches: loosen the filters, or say it in other words.";
  const both = example && asked().get("text") ? ", by the text and by what they are to be like" : "";
  const also = numClassified ? ` ${counted(numClassified, "video")} classified.` : "";
  return `${counted(shown.length, "moment")}, best first${both}.${also}`;
}

function show({ hits, threshold, nothing_like_it, understood: read }, query, like, wanted, before) {
  const isMore = query && before && stem(before) === stem(wanted);
  const kept = document.activeElement;
  stop();
  shown = hits;
  nothing = Boolean(nothing_like_it);
  understood = read ?? [];
  example = like;
  showAsked();
  shownFor = wanted;
  const lay = (hit) => card(hit, { threshold, go, onLike: () => go({ like: hit.segment_id, text: "", then: [] }) });
  cards.replaceChildren(...(isGrouped() ? groups(hits, lay) : hits.map(lay)));
  tools.hidden = hits.length === 0;
  document.getElementById("nothing").hidden = !nothing;
  document.getElementById("legend").hidden = true;
  further.firstElementChild.textContent = "More hits";
  further.hidden = hits.length < Number(query?.get("k") ?? 1) || hits.length >= mostHits;
  if (!isMore) scrollTo(0, 0);
  if (!kept?.isConnected) results.focus({ preventScroll: true }); // it went with the cards
}

function groups(hits, lay) {
  // the hits of a video together, in the order of its best one, and in the video's own order
  const ids = [...new Set(hits.map((hit) => hit.video_id))];
  return ids.map((id) => {
    const those = hits.filter((hit) => hit.video_id === id).sort((one, other) => one.start_s - other.start_s);
    if (those.length === 1) return lay(those[0]);
    const made = element("li", "", "group");
    const head = element("h2", named(those[0]));
    head.title = readable(those[0].path);
    head.append(element("span", counted(those.length, "moment"), "count"));
    const list = element("ol", "", "row");
    list.append(...those.map(lay));
    made.append(head, list);
    return made;
  });
}

function stem(wanted) {
  const kept = new URLSearchParams(wanted);
  kept.delete("k");
  return kept.toString();
}

async function tell(signal) {
  const typed = asked().get("labels") || "";
  const names = [...new Set(typed.split(",").map((one) => one.trim()).filter(Boolean))];
  const all = [...cards.querySelectorAll(".card")];
  for (const made of all) made.querySelector(".classes").hidden = true;
  legend(names);
  if (!names.length) {
    settle(summary(0));
    if (typed) complain("Give some labels, with commas between them.");
    return;
  }
  say("Classifying.");
  settle(summary(await classify(names, all, signal)));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  shownFor = null; // the index may have changed
  const filters = document.getElementById("filters");
  if (filters.contains(document.activeElement)) filters.querySelector("summary").focus();
  filters.open = false;
  const isOther = form.elements.text.value.trim() !== (asked().get("text") ?? "");
  go({
    ...(isOther && { more: [], less: [] }),
    view: view() === "browse" ? "" : asked().get("view"),
    ...Object.fromEntries(fields.map((name) => [name, form.elements[name].value.trim()])),
    ...readLines(),
  });
});
form.addEventListener("invalid", () => { document.getElementById("filters").open = true; }, true); // it may be there
document.getElementById("views").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go({ view: link.dataset.view === "search" ? "" : link.dataset.view, labels: "", folder: "", folder_bytes: "", order: "" });
});
document.getElementById("group").addEventListener("click", () => go({ group: isGrouped() ? "" : "1" }));
document.getElementById("link").addEventListener("click", (event) => copy(event.target, location.href));
document.getElementById("command").addEventListener("click", async (event) =>
  copy(event.target, commanded(question(), { example, picture: exampleName(asked().get("example")), index: (await index())?.index })));
telling.addEventListener("submit", (event) => {
  event.preventDefault();
  go({ labels: labels.value.trim() });
});
further.addEventListener("click", () => {
  if (kind() === "videos") {
    furtherVideos();
    return;
  }
  go({ k: String(Math.min(mostHits, Number(question().get("k")) + fewHits)) });
});
async function furtherVideos() {
  further.hidden = true;
  asking?.abort();
  const mine = asking = new AbortController();
  const first = cards.children.length;
  try {
    await look(mine.signal, shown.at(-1).video_id);
    if (asked().get("labels")) await tell(mine.signal);
    cards.children[first]?.querySelector(".play")?.focus({ preventScroll: true });
  } catch (error) {
    if (!mine.signal.aborted) complain(error.message);
  }
}

document.addEventListener("click", (event) => { // links within the page
  const link = event.target.closest("a[data-go]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  come();
  scrollTo(0, 0);
});
document.addEventListener("click", (event) => { // menus close by a click elsewhere
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.activeElement?.closest?.(".menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
takePictures(go);
addEventListener("popstate", come);
come();

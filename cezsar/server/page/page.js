"use strict";
// Everything that comes from a video's name or from a person is set as text, never as markup.

const api = "/api/v1";
const form = document.getElementById("search");
const cards = document.getElementById("cards");
const results = document.getElementById("results");
const state = document.getElementById("state");
const classify = document.getElementById("classify");
const labels = document.getElementById("labels");
const further = document.getElementById("further");
const fields = ["text", "not", "path", "min_score", "per_video", "k"];
const fewHits = 24;
const mostHits = 1000;
const manyVideos = 8; // that are classified at once
const longestExport = 120; // seconds
const longestPart = 12; // seconds of what is made for playing, so that it begins soon
const preparing = "Making it playable.";
const mostBlocks = 300; // of a timeline: a point or so each
let asking = null; // what is being asked for; a newer question ends it
let shown = []; // the hits
let shownFor = null; // the question that they answer
let example = null; // the segment that they are like
let outcome = ""; // what there is to say of them
let playing = null; // what ends the one video that plays
let address = null; // what was read last
const about = fetch(`${api}/stats`).then(told).catch(() => null); // the index; where there is none, a search says so

// What the address bar holds is what is asked

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
    if (!mine.signal.aborted) say(words(error), true);
  }
  if (asking === mine) cards.removeAttribute("aria-busy");
}

// Saying and asking

function say(text, isBad) {
  state.textContent = text;
  state.className = isBad ? "bad" : "";
}

function sayExample() {
  const like = document.getElementById("like");
  const id = asked().get("like");
  like.hidden = !id;
  const isKnown = example && String(example.segment_id) === id;
  like.querySelector("span").textContent = isKnown ? `${named(example)}, ${range(example)}` : `segment ${id}`;
}

function words(error) {
  return error instanceof TypeError ? "The server cannot be reached: is `cezsar serve` still running?" : error.message;
}

async function told(answer) {
  return (await sound(answer)).json();
}

async function sound(answer) {
  if (answer.ok) return answer;
  const document = await answer.json().catch(() => ({}));
  const words = {
    401: "The server asks for its token again: load this page anew.",
    429: "The server has too much to do: try again in a moment.",
  }[answer.status] || document.detail || `The server answered ${answer.status}.`;
  throw Object.assign(new Error(words), { status: answer.status });
}

async function search(signal) {
  const query = question();
  if (!query.get("text") && !query.get("like")) {
    show([], query, null);
    say("Say in a few words what should be seen.");
    const held = await about;
    if (signal.aborted || !held) return;
    say(held.videos ? `${state.textContent} ${counted(held.videos, "video")}, ${clock(held.duration_s)} in all.`
      : "The index holds no video yet: `cezsar index PATH` adds some.");
    return;
  }
  cards.setAttribute("aria-busy", "true");
  say("Searching.");
  try {
    const like = query.get("like") && await told(await fetch(`${api}/segments/${query.get("like")}`, { signal }));
    const found = await told(await fetch(`${api}/search?${query}`, { signal }));
    show(found.hits, query, like);
  } catch (error) {
    if (!signal.aborted) show([], null, null);
    throw error;
  }
  say(outcome = summary(0));
}

function summary(numClassified) {
  if (!shown.length) return "No moment matches: loosen the filters, or say it in other words.";
  const both = example && asked().get("text") ? ", by the text and by what they are to be like" : "";
  const also = numClassified ? ` ${counted(numClassified, "video")} classified.` : "";
  return `${counted(shown.length, "moment")}, best first${both}.${also}`;
}

function counted(count, name) {
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

function show(hits, query, like) {
  const isMore = query && shownFor && stem(shownFor) === stem(query);
  const kept = document.activeElement;
  playing?.();
  shown = hits;
  example = like;
  sayExample();
  shownFor = query && query.toString();
  cards.replaceChildren(...hits.map(card));
  classify.hidden = document.getElementById("command").hidden = hits.length === 0;
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

// Cards

function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, tenths % 600];
  const end = `${String(Math.floor(rest / 10)).padStart(2, "0")}.${rest % 10}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${end}` : `${minutes}:${end}`;
}

function range(part) {
  return `${clock(part.start_s)} to ${clock(part.end_s)}`;
}

function readable(path) {
  // control characters, and those that turn the direction of writing, as what they are
  return path.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200c\u200e-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function parted(hit) {
  return hit.path.split(hit.path.startsWith("/") ? "/" : /[\\/]/);
}

function named(hit) {
  return readable(parted(hit).pop());
}

function escaped(text, odd, digits) {
  return `$'${text.replace(odd, (one) => (one === "'" || one === "\\" ? `\\${one}`
    : `\\${digits === 2 ? "x" : "u"}${one.charCodeAt(0).toString(16).padStart(digits, "0")}`))}'`;
}

function quoted(word) {
  // what a shell takes for this word; control characters never reach a terminal as themselves
  if (/[\u0000-\u001f\u007f-\u009f]/.test(word)) return escaped(word, /[\\'\u0000-\u001f\u007f-\u009f]/g, 4);
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

function quotedPath(hit) {
  return hit.path_bytes ? escaped(atob(hit.path_bytes), /[^ -&(-[\]-~]/g, 2) : quoted(hit.path);
}

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function breakable(name) {
  // a long name breaks after its own marks, where it has some
  return name.split(/(?<=[-_. ])/).flatMap((part) => [part, document.createElement("wbr")]);
}

function card(hit) {
  const made = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const name = named(hit);
  const folder = parted(hit).at(-2);
  made.dataset.video = hit.video_id;
  made.querySelector("h2").replaceChildren(...breakable(name));
  made.querySelector("h2").id = `hit-${hit.rank}`;
  made.querySelector("h2").title = readable(hit.path);
  made.querySelector(".folder").textContent = folder ? `in ${readable(folder)}` : "";
  made.querySelector(".folder").title = readable(hit.path);
  made.querySelector(".range").textContent = range(hit);
  made.querySelector(".score").textContent = `score ${hit.score.toFixed(3)}`;
  const picture = made.querySelector("img");
  picture.src = `${api}/segments/${hit.segment_id}/thumbnail`;
  picture.alt = `Play ${name}, ${range(hit)}`;
  picture.addEventListener("error", () => {
    picture.alt = `No picture. ${picture.alt}`;
    picture.removeAttribute("src");
  }, { once: true });
  made.querySelector(".play").addEventListener("click", () => play(made, hit));
  made.querySelector(".more").addEventListener("click", () => go({ like: hit.segment_id, text: "" }));
  made.querySelector(".copy-path").addEventListener("click", (event) =>
    copy(event.target, readable(hit.path) === hit.path && !hit.path_bytes ? hit.path : quotedPath(hit)));
  for (const action of made.querySelectorAll(".actions > *")) {
    action.setAttribute("aria-describedby", `hit-${hit.rank}`);
  }
  const file = made.querySelector(".export");
  if (hit.end_s - hit.start_s > longestExport) file.textContent = `Export the first ${longestExport} s`;
  file.href = stretch(hit.video_id, hit.start_s, Math.min(hit.end_s, hit.start_s + longestExport)) + "&download=true";
  file.addEventListener("click", (event) => keep(event, file, name));
  return made;
}

function stretch(video, start, end) {
  return `${api}/videos/${video}/stream?start_s=${start}&end_s=${end}`;
}

async function keep(event, file, name) {
  event.preventDefault(); // until it is known that there is something to keep
  say("Cutting.");
  try {
    await sound(await fetch(file.href, { headers: { range: "bytes=0-0" } }));
    say("Cut: the browser keeps it with its downloads.");
    location.assign(file.href);
  } catch (error) {
    say(`${name}: ${words(error)}`, true);
  }
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    prompt("Copy this:", text);
    return;
  }
  button.dataset.words ??= button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = button.dataset.words; }, 1500);
}

async function commanded() {
  // what the command line would be asked for the same hits
  const query = question();
  const words = ["cezsar", "query", "--top-k", query.get("k")];
  const options = { "--not": query.getAll("not"), "--path": [query.get("path")], "--min-score": [query.get("min_score")],
    "--per-video": [query.get("per_video")], "--index": [(await about)?.index] };
  for (const [option, values] of Object.entries(options)) {
    for (const value of values) if (value) words.push(option, quoted(value));
  }
  if (example) words.push("--like", `${quotedPath(example)}@${example.start_s}-${example.end_s}`);
  const text = query.get("text");
  if (text) words.push(...(text.startsWith("-") ? ["--"] : []), quoted(text));
  return words.join(" ");
}

// Playing: one video at a time, in its card, from start_s to end_s over and over

async function play(made, part) {
  playing?.();
  const room = made.querySelector(".picture");
  const still = room.firstElementChild;
  const from = document.activeElement;
  const player = element("video");
  const ends = playing = () => {
    playing = null;
    if (state.textContent === preparing) say(outcome);
    const hadFocus = room.contains(document.activeElement);
    player.removeAttribute("src");
    player.load();
    room.replaceChildren(still);
    if (hadFocus) (from.isConnected ? from : still).focus();
  };
  try {
    const video = await told(await fetch(`${api}/videos/${part.video_id ?? made.dataset.video}`));
    if (playing !== ends) return; // another one began meanwhile
    player.controls = player.muted = player.playsInline = true;
    player.setAttribute("aria-label", `${made.querySelector("h2").textContent}, ${range(part)}; Escape ends it`);
    if (!video.media_type) say(preparing);
    player.addEventListener("playing", () => { if (state.textContent === preparing) say(outcome); });
    (video.media_type ? loop : loopOfParts)(player, video.video_id, part);
    player.addEventListener("error", () => {
      if (!player.hasAttribute("src")) return;
      ends();
      say(`${made.querySelector("h2").textContent} cannot be played.`, true);
    });
    player.addEventListener("keydown", (event) => { if (event.key === "Escape") ends(); });
    room.replaceChildren(player);
    player.focus();
  } catch (error) {
    if (playing === ends) playing = null;
    say(`${made.querySelector("h2").textContent}: ${words(error)}`, true);
  }
}

function loop(player, id, part) {
  const again = () => { player.currentTime = part.start_s; player.play().catch(() => {}); };
  player.addEventListener("loadedmetadata", again, { once: true });
  player.addEventListener("timeupdate", () => {
    const here = player.currentTime;
    if (here >= part.end_s && here < part.end_s + 1) again(); // elsewhere somebody went on purpose
  });
  player.addEventListener("ended", again);
  player.src = `${api}/videos/${id}/stream`;
}

function loopOfParts(player, id, part) {
  const after = (start) => (start + longestPart < part.end_s ? start + longestPart : part.start_s);
  const address = (start) => stretch(id, start, Math.min(start + longestPart, part.end_s));
  let start = part.start_s;
  const again = () => {
    if (player.src.endsWith(address(start))) player.currentTime = 0; else player.src = address(start);
    player.play().catch(() => {});
  };
  player.addEventListener("playing", () => { // the next one is made while this one plays
    if (after(start) !== start) fetch(address(after(start)), { headers: { range: "bytes=0-0" } }).catch(() => {});
  });
  player.addEventListener("ended", () => { start = after(start); again(); });
  again();
}

// Classifying what is shown: a bar a label, and a timeline of what each part of the video shows

async function tell(signal) {
  const typed = asked().get("labels") || "";
  const names = [...new Set(typed.split(",").map((one) => one.trim()).filter(Boolean))];
  for (const made of cards.children) made.querySelector(".classes").hidden = true;
  legend(names);
  if (!names.length) {
    outcome = summary(0);
    say(typed ? "Give some labels, with commas between them." : outcome, typed);
    return;
  }
  say("Classifying.");
  const ids = [...new Set(shown.map((hit) => hit.video_id))];
  let count = 0;
  for (let index = 0; index < ids.length; index += manyVideos) {
    const videos = await classified(names, ids.slice(index, index + manyVideos), signal);
    const found = new Map(videos.map((video) => [String(video.video_id), video]));
    for (const made of cards.children) {
      const video = found.get(made.dataset.video);
      if (!video) continue;
      made.querySelector(".classes").replaceChildren(...bars(video, names), ...timeline(made, video, names));
      made.querySelector(".classes").hidden = false;
    }
    count += found.size;
  }
  say(outcome = summary(count));
}

async function classified(names, ids, signal) {
  try {
    const answer = await told(await fetch(`${api}/classify`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ labels: names, video_ids: ids, k: 3, timeline: true }),
      signal,
    }));
    return answer.videos;
  } catch (error) {
    if (error.status !== 404) throw error;
    if (ids.length === 1) return []; // it has been removed meanwhile
    const each = [];
    for (const id of ids) each.push(...await classified(names, [id], signal));
    return each;
  }
}

function legend(names) {
  const list = document.getElementById("legend");
  list.replaceChildren(...names.map((name, index) => paint(element("li", name, "swatch"), index)));
  list.hidden = !names.length;
}

function paint(made, index) {
  made.style.setProperty("--hue", String((210 + index * 137.5) % 360)); // neighbours in the list differ most
  return made;
}

function bars(video, names) {
  return video.predictions.map(({ label, score }) => {
    const row = paint(element("div", "", "class"), names.indexOf(label));
    const bar = element("meter");
    bar.min = 0;
    bar.max = 1;
    bar.value = Math.max(0, score);
    bar.setAttribute("aria-label", `${label}: ${score.toFixed(3)}`);
    row.append(element("span", label, "swatch"), bar, element("span", score.toFixed(3)));
    return row;
  });
}

function timeline(made, video, names) {
  const blocks = merged(video.segments);
  if (!blocks.length) return [];
  const whole = { start_s: blocks[0].start_s, end_s: blocks.at(-1).end_s };
  const now = element("p", blocks.length === 1 ? `${blocks[0].label}, ${range(whole)}` : range(whole), "now");
  const line = element("div", "", "timeline");
  line.setAttribute("role", "group");
  line.setAttribute("aria-label", "What each part shows; arrow keys move, Enter plays");
  line.append(...blocks.map((block, index) => {
    const button = paint(element("button"), names.indexOf(block.label));
    button.type = "button";
    button.tabIndex = index ? -1 : 0;
    button.style.flexGrow = String(block.until_s - block.start_s);
    button.setAttribute("aria-label", `${block.label}, ${range(block)}`);
    button.title = `${block.label}, ${range(block)}`;
    button.addEventListener("click", () => play(made, block));
    const tells = () => { now.textContent = button.title; };
    button.addEventListener("focus", tells);
    button.addEventListener("mouseenter", tells);
    return button;
  }));
  line.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    const next = step && document.activeElement[step];
    if (!next) return;
    document.activeElement.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    event.preventDefault();
  });
  return [line, now];
}

function merged(segments) {
  // overlapping segments take turns, each until the next begins; neighbours of one label are one block, and in a video
  // of more segments than there are points to paint, some neighbours are what most of them are
  const each = Math.ceil(segments.length / mostBlocks);
  const blocks = [];
  for (let index = 0; index < segments.length; index += each) {
    const some = segments.slice(index, index + each);
    const names = some.map((segment) => segment.predictions[0].label);
    const count = (name) => names.filter((other) => other === name).length;
    const label = names.reduce((one, other) => (count(other) > count(one) ? other : one));
    const end_s = some.at(-1).end_s;
    const until_s = segments[index + each]?.start_s ?? end_s;
    const last = blocks.at(-1);
    if (last?.label === label) Object.assign(last, { end_s, until_s });
    else blocks.push({ label, start_s: some[0].start_s, end_s, until_s });
  }
  return blocks;
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
document.getElementById("command").addEventListener("click", async (event) => copy(event.target, await commanded()));
classify.addEventListener("submit", (event) => {
  event.preventDefault();
  go({ labels: labels.value.trim() });
});
further.addEventListener("click", () => {
  go({ k: String(Math.min(mostHits, Number(question().get("k")) + fewHits)) });
});
addEventListener("popstate", come);
come();

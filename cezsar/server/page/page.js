"use strict";
// Everything that comes from a video's name or from a person is set as text, never as markup.

const api = "/api/v1";
const form = document.getElementById("search");
const cards = document.getElementById("cards");
const state = document.getElementById("state");
const classify = document.getElementById("classify");
const fields = ["text", "not", "path", "min_score", "per_video", "k"];
let asking = null; // what is being asked for; a newer question ends it
let shown = []; // the hits

// What the address bar holds is what is asked

function question() {
  const asked = new URLSearchParams(location.search);
  const query = new URLSearchParams();
  for (const name of ["text", "path", "min_score", "per_video", "like"]) {
    if (asked.get(name)) query.set(name, asked.get(name));
  }
  query.set("k", asked.get("k") || "24");
  for (const part of (asked.get("not") || "").split(";")) {
    if (part.trim()) query.append("not", part.trim());
  }
  return query;
}

function go(changes) {
  const asked = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) asked.set(name, value); else asked.delete(name);
  }
  const next = asked.toString();
  if (next !== location.search.slice(1)) history.pushState(null, "", next ? `?${next}` : location.pathname);
  read();
}

function read() {
  const asked = new URLSearchParams(location.search);
  for (const name of fields) form.elements[name].value = asked.get(name) || "";
  if (fields.slice(1).some((name) => asked.get(name))) document.getElementById("filters").open = true;
  const like = document.getElementById("like");
  like.hidden = !asked.get("like");
  like.querySelector("span").textContent = asked.get("name") || `segment ${asked.get("like")}`;
  search();
}

// Searching

function say(words, isBad) {
  state.textContent = words;
  state.className = isBad ? "bad" : "";
}

async function told(answer) {
  const document = await answer.json().catch(() => ({}));
  if (answer.ok) return document;
  if (answer.status === 429) throw new Error("The server has too much to do: try again in a moment.");
  throw new Error(document.detail || `The server answered ${answer.status}.`);
}

async function search() {
  asking?.abort();
  const query = question();
  document.title = query.get("text") ? `${query.get("text")} - CEZSAR` : "CEZSAR";
  cards.replaceChildren();
  classify.hidden = true;
  if (!query.get("text") && !query.get("like")) {
    say("Say in a few words what should be seen.");
    return;
  }
  const mine = asking = new AbortController();
  cards.setAttribute("aria-busy", "true");
  say("Searching.");
  try {
    const found = await told(await fetch(`${api}/search?${query}`, { signal: mine.signal }));
    shown = found.hits;
    cards.append(...shown.map(card));
    classify.hidden = shown.length === 0;
    say(shown.length ? `${shown.length} ${shown.length === 1 ? "moment" : "moments"}, best first.`
      : "No moment matches: loosen the filters, or say it in other words.");
  } catch (error) {
    if (error.name === "AbortError") return;
    say(error instanceof TypeError ? "The server cannot be reached: is `cezsar serve` still running?" : error.message, true);
  }
  cards.removeAttribute("aria-busy");
}

// Cards

function clock(seconds) {
  const whole = Math.floor(seconds + 0.05);
  const tenths = Math.floor((seconds + 0.05 - whole) * 10);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${String(whole % 60).padStart(2, "0")}.${tenths}`;
}

function readable(path) {
  // control characters, and those that turn the direction of writing, as what they are
  return path.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200c\u200e-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function quoted(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

function card(hit) {
  const made = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const name = readable(hit.path.split(/[\\/]/).pop());
  const range = `${clock(hit.start_s)} to ${clock(hit.end_s)}`;
  made.dataset.video = hit.video_id;
  made.querySelector("h2").textContent = name;
  made.querySelector("h2").title = readable(hit.path);
  made.querySelector(".range").textContent = range;
  made.querySelector(".score").textContent = `score ${hit.score.toFixed(3)}`;
  const picture = made.querySelector("img");
  picture.src = `${api}/segments/${hit.segment_id}/thumbnail`;
  picture.alt = `Play ${name}, ${range}`;
  picture.addEventListener("error", () => picture.removeAttribute("src"), { once: true });
  made.querySelector(".play").addEventListener("click", () => play(made, hit, hit.start_s, hit.end_s));
  made.querySelector(".more").addEventListener("click", () => go({ like: hit.segment_id, name, text: "" }));
  made.querySelector(".copy-path").addEventListener("click", (event) => copy(event.target, hit.path));
  made.querySelector(".copy-command").addEventListener("click", (event) =>
    copy(event.target, `cezsar query --like ${quoted(`${hit.path}@${hit.start_s}-${hit.end_s}`)}`));
  const file = made.querySelector(".export");
  file.href = part(hit.video_id, hit.start_s, hit.end_s) + "&download=true";
  file.setAttribute("aria-label", `Export ${name}, ${range}`);
  return made;
}

function part(video, start, end) {
  return `${api}/videos/${video}/stream?start_s=${start}&end_s=${Math.min(end, start + 120)}`;
}

async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    window.prompt("Copy this:", text);
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

async function play(made, hit, start, end) {
  const room = made.querySelector(".picture");
  try {
    const video = await told(await fetch(`${api}/videos/${hit.video_id}`));
    const offset = video.media_type ? 0 : start; // of what is sent, in the video
    const player = document.createElement("video");
    player.controls = true;
    player.muted = true;
    player.playsInline = true;
    player.setAttribute("aria-label", made.querySelector("img")?.alt || made.querySelector("h2").textContent);
    player.src = video.media_type ? `${api}/videos/${hit.video_id}/stream` : part(hit.video_id, start, end);
    player.addEventListener("loadedmetadata", () => { player.currentTime = start - offset; }, { once: true });
    player.addEventListener("timeupdate", () => {
      const here = player.currentTime + offset;
      if (here >= end && here < end + 1) player.currentTime = start - offset; // elsewhere somebody went on purpose
    });
    player.addEventListener("ended", () => { player.currentTime = start - offset; player.play(); });
    player.addEventListener("error", () => { say(`${made.querySelector("h2").textContent} cannot be played.`, true); });
    room.replaceChildren(player);
    player.focus();
    await player.play().catch(() => {});
  } catch (error) {
    say(error.message, true);
  }
}

// Classifying what is shown

async function tell(labels) {
  const ids = [...new Set(shown.map((hit) => hit.video_id))].slice(0, 100);
  say("Classifying.");
  try {
    const answer = await told(await fetch(`${api}/classify`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ labels, video_ids: ids, k: Math.min(3, labels.length), timeline: true }),
    }));
    const found = new Map(answer.videos.map((video) => [String(video.video_id), video]));
    for (const made of cards.children) {
      const video = found.get(made.dataset.video);
      if (video) made.querySelector(".classes").replaceChildren(...bars(video), timeline(made, video));
      made.querySelector(".classes").hidden = !video;
    }
    say(`${ids.length} ${ids.length === 1 ? "video" : "videos"} classified.`);
  } catch (error) {
    say(error.message, true);
  }
}

function bars(video) {
  return video.predictions.map(({ label, score }) => {
    const row = document.createElement("div");
    row.className = "class";
    const name = document.createElement("span");
    name.textContent = label;
    const bar = document.createElement("meter");
    bar.min = 0;
    bar.max = 1;
    bar.value = Math.max(0, score);
    bar.setAttribute("aria-label", `${label}: ${score.toFixed(3)}`);
    const figure = document.createElement("span");
    figure.textContent = score.toFixed(3);
    row.append(name, bar, figure);
    return row;
  });
}

function timeline(made, video) {
  const list = document.createElement("ul");
  list.className = "timeline";
  list.setAttribute("aria-label", "What each part shows");
  for (const segment of (video.segments || []).slice(0, 50)) {
    const entry = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${clock(segment.start_s)} ${segment.predictions[0].label}`;
    button.addEventListener("click", () => play(made, { video_id: video.video_id }, segment.start_s, segment.end_s));
    entry.append(button);
    list.append(entry);
  }
  return list;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  go(Object.fromEntries(fields.map((name) => [name, form.elements[name].value.trim()])));
});
document.querySelector("#like button").addEventListener("click", () => go({ like: "", name: "" }));
classify.addEventListener("submit", (event) => {
  event.preventDefault();
  const labels = [...new Set(document.getElementById("labels").value.split(",").map((one) => one.trim()).filter(Boolean))];
  if (labels.length) tell(labels); else say("Give some labels, with commas between them.", true);
});
addEventListener("popstate", read);
read();

// A hit at full size: the video, how like the question all of it is, what lies around the hit, and keys for all of that.

import { button, make } from "./dom.js";
import { timing, timeOf, framesOf } from "./frames.js";
import { isAsked, question } from "./question.js";
import { Screen } from "./screen.js";
import { address, told } from "./talk.js";
import { clock, counted, folder, named, range, readable, strength } from "./words.js";

const mostBars = 400;
const mostAround = 9; // segments
const around = 60; // seconds before and after a hit in which its neighbours are
const leap = 2; // seconds of J and L
const asking = ["text", "not", "literal", "then", "within", "like", "example", "more", "less"];
const keys = [["J K L", "back 2 s, pause, play and faster"], ["Space", "play or pause"], ["← →", "a second (Shift: ten)"],
  [", .", "a frame"], ["[ ]", "the shot before, after"], ["↑ ↓", "the hit before, after"], ["E", "collect"],
  ["R", "play the hit in a loop"], ["M", "sound"], ["Esc", "close"]];

let parts = null; // of the dialog, once it is made
let screen = null;
let shown = null; // {items, place, collect, isCollected}
let scores = null; // of the whole video
let near = null; // and of what lies around the hit
let loops = true;

export function view(items, place, { collect, isCollected }) {
  // items are {hit, threshold, back}, of which the one at place is shown; back is what gets the focus afterwards
  if (!parts) build();
  shown = { items, place, collect, isCollected };
  if (!parts.dialog.open) parts.dialog.showModal();
  parts.title.focus(); // and no button, which the space bar would press
  show();
}

function build() {
  const player = make("video", { playsinline: true, preload: "auto" });
  player.muted = true;
  screen = new Screen(player, tick);
  player.addEventListener("error", () => {
    if (player.hasAttribute("src")) complain(`${named(hit())} cannot be played.`);
  });
  player.addEventListener("click", toggle);
  parts = {
    player,
    title: make("h2", { id: "viewer-title", tabindex: "-1" }),
    where: make("p", { class: "where" }),
    facts: make("p", { class: "facts" }),
    number: make("p", { class: "number" }),
    state: make("p", { class: "viewer-state", role: "status" }),
    time: make("output", { class: "time" }),
    play: button("Play", toggle),
    loop: button("Loop", () => setLoop(!loops), { "aria-pressed": "true" }),
    sound: button("Sound", toggleSound, { "aria-pressed": "false" }),
    collect: button("Collect", collect, { class: "main" }),
    before: button("↑ Hit before", () => step(-1)),
    after: button("↓ Hit after", () => step(1)),
    track: make("div", { class: "track", role: "slider", tabindex: "0", "aria-label": "Time in the video", "aria-valuemin": "0" }),
    told: make("p", { class: "told" }),
    around: make("ol", { class: "around", "aria-label": "What lies around the hit" }),
    band: make("div", { class: "band" }),
    head: make("div", { class: "playhead" }),
    bars: make("div", { class: "bars" }),
  };
  parts.track.append(parts.bars, parts.band, parts.head);
  parts.track.addEventListener("pointerdown", (event) => {
    parts.track.setPointerCapture(event.pointerId);
    scrub(event);
  });
  parts.track.addEventListener("pointermove", (event) => {
    if (parts.track.hasPointerCapture(event.pointerId)) scrub(event); else tellAt(timeAt(event));
  });
  parts.track.addEventListener("pointerleave", () => tellAt(screen.time));
  const list = make("details", { class: "keys", open: matchMedia("(hover: hover) and (min-width: 52rem)").matches },
    make("summary", {}, "Keys"), make("dl", {}, keys.flatMap(([key, what]) => [make("dt", {}, key), make("dd", {}, what)])));
  parts.dialog = make("dialog", { id: "viewer", "aria-labelledby": "viewer-title", keydown: press, close: ended },
    make("div", { class: "stage" }, player),
    make("div", { class: "side" },
      make("div", { class: "head" }, parts.title, button("×", () => parts.dialog.close(), { class: "quiet close", "aria-label": "Close" })),
      parts.where, parts.facts, parts.number, parts.state,
      make("div", { class: "row" }, parts.play, parts.loop, parts.sound, parts.collect),
      make("div", { class: "row" }, parts.before, parts.after), list),
    make("div", { class: "below" },
      make("div", { class: "line" }, parts.time, parts.told), parts.track,
      make("h3", {}, "Around it"), parts.around));
  document.body.append(parts.dialog);
}

function hit() {
  return shown.items[shown.place].hit;
}

async function show() {
  const mine = hit();
  const { threshold } = shown.items[shown.place];
  scores = near = null;
  parts.title.textContent = named(mine);
  parts.where.textContent = folder(mine) && `in ${folder(mine)}`;
  parts.where.title = readable(mine.path);
  const strong = typeof mine.confidence === "number" ? `${strength(mine.confidence, threshold)} (${mine.confidence.toFixed(2)}), ` : "";
  parts.number.textContent = shown.items.length > 1 ? `${shown.place + 1} of ${counted(shown.items.length, "hit")}` : "";
  parts.facts.textContent = range(mine) + (mine.score === undefined ? "" : `; ${strong}score ${mine.score.toFixed(3)}`);
  parts.before.disabled = shown.place === 0;
  parts.after.disabled = shown.place === shown.items.length - 1;
  parts.player.poster = address(`/segments/${mine.segment_id}/thumbnail`);
  parts.player.setAttribute("aria-label", `${named(mine)}, ${range(mine)}`);
  parts.track.setAttribute("aria-valuemax", String(Math.ceil(mine.end_s)));
  say("");
  sayCollected();
  draw();
  drawAround();
  await Promise.all([start(mine), ask(mine)]);
}

async function start(mine) {
  try {
    const video = await screen.open(mine.video_id, mine.start_s);
    if (!video || hit() !== mine) return;
    if (!video.media_type) say("No browser plays this file: it is made playable part by part.");
    draw();
  } catch (error) {
    if (hit() === mine) complain(error.message);
  }
}

async function ask(mine) {
  if (!isAsked()) return;
  const query = new URLSearchParams([...question()].filter(([name]) => asking.includes(name)));
  query.set("limit", String(mostBars));
  const close = new URLSearchParams(query);
  close.set("start_s", String(Math.max(0, mine.start_s - around)));
  close.set("end_s", String(mine.end_s + around));
  try {
    const [whole, part] = await Promise.all([query, close].map((one) => told(`/videos/${mine.video_id}/scores?${one}`)));
    if (hit() !== mine) return;
    [scores, near] = [whole, part];
    draw();
    drawAround();
  } catch (error) {
    if (hit() === mine) complain(error.message);
  }
}

function duration() {
  return scores?.duration_s ?? screen.video?.duration_s ?? hit().end_s;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function draw() {
  const whole = duration();
  const { start_s, end_s } = hit();
  parts.track.setAttribute("aria-valuemax", whole.toFixed(1));
  parts.band.style.left = `${100 * start_s / whole}%`;
  parts.band.style.width = `${100 * (end_s - start_s) / whole}%`;
  parts.bars.replaceChildren(...(scores?.parts ?? []).map((_, part) => {
    const found = scores.segments.map((one) => one.scores[part]);
    const [low, high] = [Math.min(...found), Math.max(...found)];
    const path = scores.segments.map((one, place) => {
      const until = scores.segments[place + 1]?.start_s ?? one.end_s;
      const top = 1 - (0.08 + 0.92 * (found[place] - low) / (high - low || 1));
      return `M${one.start_s} 1V${top.toFixed(4)}H${until}V1Z`;
    });
    const drawn = svg("svg", { viewBox: `0 0 ${whole} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
    drawn.append(svg("path", { d: path.join(""), class: "scores" }),
      svg("path", { d: scores.cuts_s.map((cut) => `M${cut} 0V1`).join(""), class: "cuts" }));
    return drawn;
  }));
  tick();
}

function drawAround() {
  const mine = hit();
  const all = near?.segments ?? [];
  const first = all.findIndex((one) => one.end_s > mine.start_s + 0.01 && one.start_s >= mine.start_s - 0.01);
  const from = Math.max(0, Math.min((first < 0 ? all.length : first) - 3, all.length - mostAround));
  parts.around.replaceChildren(...all.slice(from, from + mostAround).map((one) => {
    const isOf = one.start_s < mine.end_s - 0.01 && one.end_s > mine.start_s + 0.01;
    const picture = make("img", { src: address(`/segments/${one.segment_id}/thumbnail`), alt: "", loading: "lazy", width: 160, height: 90 });
    picture.addEventListener("error", () => picture.removeAttribute("src"), { once: true });
    return make("li", {}, make("button", { type: "button", "aria-current": isOf ? "true" : null,
      click: () => { screen.seek(one.start_s); screen.play(); } }, picture,
    make("span", {}, make("span", { class: "unseen" }, "Play from "), clock(one.start_s)),
    make("span", { class: "score" }, make("span", { class: "unseen" }, ", score "), Math.max(...one.scores).toFixed(2))));
  }));
  parts.around.previousElementSibling.hidden = parts.around.hidden = !all.length;
  const here = parts.around.querySelector("[aria-current]");
  if (here) parts.around.scrollLeft = here.offsetLeft - parts.around.offsetLeft - parts.around.clientWidth / 4;
}

function tick() {
  if (!parts?.dialog?.open) return;
  const { start_s, end_s } = hit();
  const now = screen.time;
  if (loops && screen.isPlaying && now >= end_s && now < end_s + 0.6) { // further on somebody went on purpose
    screen.seek(start_s);
    return;
  }
  const whole = duration();
  parts.head.style.left = `${100 * Math.min(1, now / whole)}%`;
  parts.time.textContent = `${clock(now)} of ${clock(whole)}`;
  parts.play.textContent = screen.isPlaying ? "Pause" : "Play";
  parts.track.setAttribute("aria-valuenow", now.toFixed(1));
  parts.track.setAttribute("aria-valuetext", `${clock(now)}${scoreAt(now)}`);
  if (!parts.track.matches(":hover")) tellAt(now);
}

function scoreAt(time) {
  const found = scores?.segments.findLast((one) => one.start_s <= time);
  if (!found || time > found.end_s) return "";
  return `, score ${found.scores.map((score) => score.toFixed(3)).join(" and ")}`;
}

function tellAt(time) {
  const inAll = scores && scores.num_segments > scores.segments.length ? `; ${counted(scores.num_segments, "segment")} in all` : "";
  parts.told.textContent = `at ${clock(time)}${scoreAt(time)}${inAll}`;
}

function timeAt(event) {
  const { left, width } = parts.track.getBoundingClientRect();
  return duration() * Math.min(1, Math.max(0, (event.clientX - left) / width));
}

function scrub(event) {
  screen.seek(timeAt(event));
  tellAt(timeAt(event));
}

function step(by) {
  const next = shown.place + by;
  if (next < 0 || next >= shown.items.length) return;
  shown.place = next;
  show();
}

function toggle() {
  if (screen.isPlaying) screen.pause(); else forward();
}

function forward() {
  // plays, and faster each time
  parts.player.playbackRate = screen.isPlaying ? Math.min(4, parts.player.playbackRate * 2) : 1;
  parts.player.defaultPlaybackRate = parts.player.playbackRate;
  screen.play();
  say(parts.player.playbackRate > 1 ? `${parts.player.playbackRate} times as fast` : "");
}

function slow() {
  parts.player.playbackRate = parts.player.defaultPlaybackRate = 1;
}

function setLoop(whether) {
  loops = whether;
  parts.loop.setAttribute("aria-pressed", String(loops));
}

function toggleSound() {
  parts.player.muted = !parts.player.muted;
  parts.sound.setAttribute("aria-pressed", String(!parts.player.muted));
}

function collect() {
  shown.collect(hit());
  sayCollected();
}

function sayCollected() {
  const isIn = shown.isCollected(hit());
  parts.collect.textContent = isIn ? "Collected" : "Collect";
  parts.collect.setAttribute("aria-pressed", String(isIn));
}

async function stepFrame(by) {
  const mine = hit();
  screen.pause();
  try {
    const counts = await timing(mine.video_id);
    if (hit() !== mine) return;
    const [frame] = framesOf(counts, screen.time, screen.time);
    screen.seek(timeOf(counts, Math.max(0, frame + by)) + 0.25 / counts.rate); // well within the frame
    say(counts.is_steady ? `frame ${Math.max(0, frame + by)}` : "its frame rate varies: steps are of the mean");
  } catch (error) {
    complain(error.message);
  }
}

function stepShot(by) {
  const cuts = [0, ...new Set([...scores?.cuts_s ?? [], ...near?.cuts_s ?? []])].sort((one, other) => one - other);
  const now = screen.time;
  const next = by < 0 ? cuts.findLast((cut) => cut < now - 0.5) : cuts.find((cut) => cut > now + 0.05);
  if (next === undefined) say(by < 0 ? "No shot before this one." : "No shot after this one."); else screen.seek(next);
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isButton = event.target.closest("button, summary");
  const acts = {
    j: () => { slow(); screen.seek(screen.time - leap); }, k: () => { slow(); screen.pause(); }, l: forward,
    " ": isButton ? null : toggle, ArrowLeft: () => screen.seek(screen.time - (event.shiftKey ? 10 : 1)),
    ArrowRight: () => screen.seek(screen.time + (event.shiftKey ? 10 : 1)), ArrowUp: () => step(-1), ArrowDown: () => step(1),
    ",": () => stepFrame(-1), ".": () => stepFrame(1), "[": () => stepShot(-1), "]": () => stepShot(1), e: collect,
    r: () => setLoop(!loops), m: toggleSound, Home: () => screen.seek(0), End: () => screen.seek(duration()),
  };
  const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function say(text) {
  parts.state.textContent = text;
  parts.state.classList.remove("bad");
}

function complain(text) {
  say(text);
  parts.state.classList.add("bad");
}

function ended() {
  screen.close();
  slow();
  parts.player.removeAttribute("poster");
  parts.around.replaceChildren(); // its pictures need not come any more
  const { back } = shown.items[shown.place];
  if (back?.isConnected) back.focus();
}

addEventListener("popstate", () => parts?.dialog.close());

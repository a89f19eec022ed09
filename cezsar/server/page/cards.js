// A hit, or a whole video, as a card, and what can be done with it.

import { equip } from "./desk.js";
import { play } from "./player.js";
import { scrub } from "./scrub.js";
import { address, ask, complain, copy, element, say, stretch } from "./talk.js";
import { brief, counted, folder, length, named, quotedPath, range, readable, strength } from "./words.js";

const longestExport = 120; // seconds
let numCards = 0;

function breakable(name) {
  // a long name breaks after its own marks, where it has some
  return name.split(/(?<=[-_. ])/).flatMap((part) => [part, document.createElement("wbr")]);
}

export function card(hit, { threshold, onLike, go }) {
  // hit has a video, a segment that stands for it (null: none) and a stretch; score and what goes with it if it
  // answers a question; go goes to another address
  const made = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const name = named(hit);
  const head = made.querySelector("h2");
  made.dataset.video = hit.video_id;
  head.replaceChildren(...breakable(name));
  head.id = `hit-${++numCards}`;
  head.title = readable(hit.path);
  made.querySelector(".folder").textContent = folder(hit) && `in ${folder(hit)}`;
  made.querySelector(".folder").title = readable(hit.path);
  made.querySelector(".range").textContent = hit.score === undefined ? "" : brief(hit);
  made.querySelector(".length").textContent = length(hit.end_s - hit.start_s);
  showStrength(made, hit, threshold);
  showParts(made, hit);
  showCopies(made, hit);
  showPicture(made, hit, `Play ${name}, ${range(hit)}`);
  made.querySelector(".play").addEventListener("click", () => play(made, hit));
  made.querySelector(".like").addEventListener("click", onLike);
  made.querySelector(".like").hidden = hit.segment_id === null;
  made.querySelector(".copy-path").addEventListener("click", (event) =>
    copy(event.target, readable(hit.path) === hit.path && !hit.path_bytes ? hit.path : quotedPath(hit)));
  for (const action of made.querySelectorAll(":is(.actions, .menu) :is(button, a, summary)")) {
    action.setAttribute("aria-describedby", head.id);
  }
  const file = made.querySelector(".export");
  if (hit.end_s - hit.start_s > longestExport) file.textContent = `Export the first ${longestExport} s`;
  const part = stretch(hit.video_id, hit.start_s, Math.min(hit.end_s, hit.start_s + longestExport)) + "&download=true";
  file.href = address(part);
  file.addEventListener("click", (event) => {
    event.preventDefault(); // until it is known that there is something to keep
    keep(part, name);
  });
  equip(made, hit, { threshold, go });
  return made;
}

export function skeletons(count) {
  // what stands where cards will be
  return Array.from({ length: count }, () => {
    const made = element("li", "", "card skeleton");
    made.setAttribute("aria-hidden", "true");
    made.append(element("div", "", "picture"), element("div", "", "line"), element("div", "", "line short"));
    return made;
  });
}

function showStrength(made, hit, threshold) {
  const row = made.querySelector(".strength");
  const isJudged = typeof hit.confidence === "number";
  row.hidden = hit.score === undefined;
  if (row.hidden) return;
  const word = row.querySelector(".word");
  if (!isJudged) {
    row.querySelector(".bar").hidden = true;
    word.textContent = `score ${hit.score.toFixed(3)}`;
    return;
  }
  word.textContent = row.dataset.strength = strength(hit.confidence, threshold);
  row.title = `score ${hit.score.toFixed(3)}, confidence ${hit.confidence.toFixed(2)}: `
    + "how likely a person would say that it shows this";
  row.querySelector(".bar span").style.width = `${Math.round(100 * Math.max(0.04, hit.confidence))}%`;
}

function showParts(made, hit) {
  const list = made.querySelector(".parts");
  list.hidden = !hit.parts;
  list.replaceChildren(...(hit.parts ?? []).map((part) => {
    const row = element("li");
    const button = element("button", `${part.query ?? "the example"} `, "part");
    button.type = "button";
    button.append(element("span", brief(part), "when"));
    button.title = `Play it, score ${part.score.toFixed(3)}`;
    button.addEventListener("click", () => play(made, part));
    row.append(button);
    return row;
  }));
}

function showCopies(made, hit) {
  const copies = made.querySelector(".copies");
  copies.hidden = !hit.copies;
  if (!hit.copies) return;
  copies.querySelector("summary").textContent = `+ ${hit.copies.length} ${hit.copies.length === 1 ? "copy" : "copies"}`;
  copies.querySelector("ul").replaceChildren(...hit.copies.map((path) => element("li", readable(path))));
}

function showPicture(made, hit, words) {
  const button = made.querySelector(".play");
  const place = made.querySelector(".picture");
  const picture = made.querySelector("img");
  const none = () => {
    picture.replaceWith(element("span", "No picture", "none"));
    place.classList.add("there");
  };
  button.querySelector(".unseen").textContent = words;
  if (hit.segment_id === null) {
    none();
    return;
  }
  picture.addEventListener("load", () => place.classList.add("there"), { once: true });
  picture.addEventListener("error", none, { once: true });
  picture.src = address(`/segments/${hit.segment_id}/thumbnail`);
  scrub(button, hit);
}

async function keep(part, name) {
  say("Cutting.");
  try {
    await ask(part, { headers: { range: "bytes=0-0" } });
    say("Cut: the browser keeps it with its downloads.");
    location.assign(address(part));
  } catch (error) {
    complain(`${name}: ${error.message}`);
  }
}

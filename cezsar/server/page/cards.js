// A hit as a card, and what can be done with it.

import { play } from "./player.js";
import { address, ask, complain, say, stretch } from "./talk.js";
import { folder, named, quotedPath, range, readable, strength } from "./words.js";

const longestExport = 120; // seconds

function breakable(name) {
  // a long name breaks after its own marks, where it has some
  return name.split(/(?<=[-_. ])/).flatMap((part) => [part, document.createElement("wbr")]);
}

export function card(hit, threshold, more) {
  const made = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const name = named(hit);
  made.dataset.video = hit.video_id;
  made.querySelector("h2").replaceChildren(...breakable(name));
  made.querySelector("h2").id = `hit-${hit.rank}`;
  made.querySelector("h2").title = readable(hit.path);
  made.querySelector(".folder").textContent = folder(hit) && `in ${folder(hit)}`;
  made.querySelector(".folder").title = readable(hit.path);
  if (hit.copies) {
    const others = made.querySelector(".folder");
    others.textContent += ` + ${hit.copies.length} ${hit.copies.length === 1 ? "copy" : "copies"}`;
    others.title = [hit.path, ...hit.copies].map(readable).join("\n");
  }
  made.querySelector(".range").textContent = range(hit);
  made.querySelector(".score").textContent = `score ${hit.score.toFixed(3)}`;
  const likely = made.querySelector(".strength");
  likely.hidden = hit.confidence === null;
  if (hit.confidence !== null) {
    likely.textContent = strength(hit.confidence, threshold);
    likely.dataset.strength = likely.textContent;
    likely.title = `confidence ${hit.confidence.toFixed(2)}: how likely a person would say that it shows this`;
  }
  const picture = made.querySelector("img");
  picture.src = address(`/segments/${hit.segment_id}/thumbnail`);
  picture.alt = `Play ${name}, ${range(hit)}`;
  picture.addEventListener("error", () => {
    picture.alt = `No picture. ${picture.alt}`;
    picture.removeAttribute("src");
  }, { once: true });
  made.querySelector(".play").addEventListener("click", () => play(made, hit));
  made.querySelector(".more").addEventListener("click", more);
  made.querySelector(".copy-path").addEventListener("click", (event) =>
    copy(event.target, readable(hit.path) === hit.path && !hit.path_bytes ? hit.path : quotedPath(hit)));
  for (const action of made.querySelectorAll(".actions > *")) {
    action.setAttribute("aria-describedby", `hit-${hit.rank}`);
  }
  const file = made.querySelector(".export");
  if (hit.end_s - hit.start_s > longestExport) file.textContent = `Export the first ${longestExport} s`;
  const part = stretch(hit.video_id, hit.start_s, Math.min(hit.end_s, hit.start_s + longestExport)) + "&download=true";
  file.href = address(part);
  file.addEventListener("click", (event) => {
    event.preventDefault(); // until it is known that there is something to keep
    keep(part, name);
  });
  return made;
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

export async function copy(button, text) {
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

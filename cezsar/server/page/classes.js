// Telling videos apart by labels: a bar a label, and a timeline of what each part of a video shows.

import { play } from "./player.js";
import { element, told } from "./talk.js";
import { range } from "./words.js";

const manyVideos = 8; // that are asked for at once
const mostBlocks = 300; // of a timeline: a point or so each

export async function classify(names, cards, signal) {
  // Fills the cards; how many videos there were.
  const ids = [...new Set(cards.map((made) => made.dataset.video))];
  let count = 0;
  for (let index = 0; index < ids.length; index += manyVideos) {
    const videos = await classified(names, ids.slice(index, index + manyVideos).map(Number), signal);
    const found = new Map(videos.map((video) => [String(video.video_id), video]));
    for (const made of cards) {
      const video = found.get(made.dataset.video);
      if (!video) continue;
      made.querySelector(".classes").replaceChildren(...bars(video, names), ...timeline(made, video, names));
      made.querySelector(".classes").hidden = false;
    }
    count += found.size;
  }
  return count;
}

async function classified(names, ids, signal) {
  try {
    const answer = await told("/classify", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ labels: names, video_ids: ids, k: 3, timeline: true }),
      signal,
    });
    return answer.videos;
  } catch (error) {
    if (error.status !== 404) throw error;
    if (ids.length === 1) return []; // it has been removed meanwhile
    const each = [];
    for (const id of ids) each.push(...await classified(names, [id], signal));
    return each;
  }
}

export function legend(names) {
  const list = document.getElementById("legend");
  list.replaceChildren(...names.map((name, index) => paint(element("li", name, "swatch"), index)));
  list.hidden = !names.length;
}

function paint(made, index) {
  made.style.setProperty("--hue", String((210 + index * 137.5) % 360)); // neighbours in the list differ most
  return made;
}

function bars(video, names) {
  return video.predictions.map(({ label, score, confidence }) => {
    const row = paint(element("div", "", "class"), names.indexOf(label));
    const isJudged = confidence !== null;
    const value = isJudged ? confidence : Math.max(0, score);
    const words = isJudged ? `${Math.round(100 * confidence)}%` : score.toFixed(3);
    row.title = `score ${score.toFixed(3)}${isJudged ? `, confidence ${confidence.toFixed(2)}` : ""}`;
    const bar = element("meter");
    bar.min = 0;
    bar.max = 1;
    bar.value = value;
    bar.setAttribute("aria-label", `${label}: ${words}`);
    row.append(element("span", label, "swatch"), bar, element("span", words, "value"));
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
    button.title = `${block.label}, ${range(block)}`;
    button.setAttribute("aria-label", button.title);
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

// What is set, as chips that a click removes; and the lines of what comes after that.

import { exampleChip } from "./example.js";
import { judgements } from "./judge.js";
import { asked, listed } from "./question.js";
import { element } from "./talk.js";
import { brief, counted, length, named } from "./words.js";

const mostLines = 7;
const chips = document.getElementById("chips");
const lines = document.getElementById("then");
const adding = document.getElementById("add-then");

const words = {
  not: (value) => `not: ${value}`,
  path: (value) => `path: ${value}`,
  not_path: (value) => `not path: ${value}`,
  since: (value) => `since ${value}`,
  until: (value) => `until ${value}`,
  min_length: (value) => `at least ${length(Number(value))} long`,
  max_length: (value) => `at most ${length(Number(value))} long`,
  min_score: (value) => `score from ${value}`,
  per_video: (value) => (value === "0" ? "all hits of a video" : `${counted(Number(value), "hit")} per video`),
  literal: () => "words as they are",
};

export function showChips({ example, understood, go }) {
  // example is the segment that hits are like, understood what the server read otherwise than it stands
  const made = [];
  const id = asked().get("like");
  if (id) {
    const isKnown = example && String(example.segment_id) === id;
    made.push(chip(`like ${isKnown ? `${named(example)}, ${brief(example)}` : `segment ${id}`}`, () => go({ like: "" })));
  }
  for (const [name, said] of Object.entries(words)) {
    const values = name === "not" || name === "not_path" ? listed(name) : [asked().get(name)].filter(Boolean);
    values.forEach((value, index) => made.push(chip(said(value), () =>
      go({ [name]: values.filter((_, other) => other !== index).join("; ") }))));
  }
  for (const one of understood ?? []) {
    made.push(chip(`read as: ${one.text || "anything"}, not: ${one.not.join(", ")}`, () => go({ literal: "true" }),
      "Take the words as they are instead"));
  }
  made.push(...exampleChip(chip, go), ...judgements(chip, go));
  chips.replaceChildren(...made);
  chips.hidden = !made.length;
}

function chip(text, remove, how = "Remove") {
  const made = element("li");
  const button = element("button", text, "chip");
  button.type = "button";
  button.title = how;
  const sign = element("span", "×");
  sign.setAttribute("aria-hidden", "true");
  button.append(sign, element("span", `: ${how.toLowerCase()}`, "unseen"));
  button.addEventListener("click", () => {
    const after = document.getElementById("text");
    remove();
    after.focus({ preventScroll: true }); // the chip has gone
  });
  made.append(button);
  return made;
}

export function readLines() {
  const typed = [...lines.querySelectorAll("input[name=then]")].map((one) => one.value.trim()).filter(Boolean);
  return { then: typed, within: typed.length ? lines.querySelector("input[name=within]")?.value ?? "" : "" };
}

export function showLines() {
  const said = asked().getAll("then").filter((one) => one.trim());
  lines.replaceChildren(...said.map(line));
  withinIfAny(asked().get("within") ?? "");
}

function line(text) {
  const made = element("li", "", "line");
  const label = element("label", "then ");
  const input = element("input");
  Object.assign(input, { name: "then", value: text, maxLength: 1000, placeholder: "she sits down" });
  label.append(input);
  const button = element("button", "×", "quiet");
  button.type = "button";
  const tells = () => button.setAttribute("aria-label", `Remove the line: ${input.value || "empty"}`);
  tells();
  input.addEventListener("input", tells);
  button.addEventListener("click", () => {
    made.remove();
    withinIfAny(lines.querySelector("input[name=within]")?.value ?? "");
    if (asked().getAll("then").join() === readLines().then.join()) document.getElementById("text").focus();
    else document.getElementById("search").requestSubmit();
  });
  made.append(label, button);
  return made;
}

function withinIfAny(value) {
  lines.querySelector(".within")?.remove();
  const count = lines.children.length;
  lines.hidden = count === 0;
  adding.hidden = count >= mostLines;
  if (!count) return;
  const made = element("li", "", "within");
  const label = element("label", "each within ");
  const input = element("input");
  Object.assign(input, { name: "within", type: "number", min: "0.1", max: "86400", step: "any", placeholder: "60", value });
  label.append(input, " s");
  made.append(label);
  lines.append(made);
}

adding.addEventListener("click", () => {
  const made = line("");
  const within = lines.querySelector("input[name=within]")?.value ?? "";
  lines.querySelector(".within")?.remove();
  lines.append(made);
  withinIfAny(within);
  made.querySelector("input").focus();
});

// Answers that are right or wrong: "more" and "less" on a hit, which the address keeps.

import { asked, isAsked, question } from "./question.js";
import { address, complain, told } from "./talk.js";
import { brief, named } from "./words.js";

const most = 100; // of each, as the server takes them
const signs = { more: "+", less: "−" };
const known = new Map(); // segments by id, as promises

export function judge(made, hit, go) {
  // the card's two buttons
  known.set(String(hit.segment_id), Promise.resolve(hit));
  for (const name of Object.keys(signs)) {
    const act = made.querySelector(`.actions .${name}`);
    const isChosen = chosen(name).includes(String(hit.segment_id));
    act.hidden = !isAsked() || question().has("then"); // an order takes no judgement
    act.setAttribute("aria-pressed", String(isChosen));
    act.title = name === "more" ? "This is right: more like it" : "This is wrong: less like it";
    act.addEventListener("click", () => {
      if (!isChosen && chosen(name).length >= most) {
        complain(`${most} hits are as many as can be judged.`);
        return;
      }
      const others = Object.fromEntries(Object.keys(signs).map((one) => [one, without(one, hit.segment_id)]));
      if (!isChosen) others[name].push(String(hit.segment_id));
      go(others);
    });
  }
}

function chosen(name) {
  return asked().getAll(name).filter((one) => /^\d+$/.test(one));
}

function without(name, id) {
  return chosen(name).filter((one) => one !== String(id));
}

export function judgements(chip, go) {
  // a chip for each hit that was judged
  return Object.entries(signs).flatMap(([name, sign]) => chosen(name).map((id) => {
    const made = chip(`${sign} ${name}: segment ${id}`, () => go({ [name]: without(name, id) }));
    const picture = document.createElement("img");
    picture.alt = "";
    picture.src = address(`/segments/${id}/thumbnail`);
    picture.addEventListener("error", () => picture.remove());
    made.firstElementChild.prepend(picture);
    segment(id).then((hit) => { picture.nextSibling.data = `${sign} ${name}: ${named(hit)}, ${brief(hit)}`; }, () => {});
    return made;
  }));
}

function segment(id) {
  if (!known.has(id)) {
    const found = told(`/segments/${id}`);
    found.catch(() => known.delete(id));
    known.set(id, found);
  }
  return known.get(id);
}

// Looking through folders and videos without a query, a page at a time.

import { skeletons } from "./cards.js";
import { folderTile, tiles } from "./landing.js";
import { asked } from "./question.js";
import { element, told } from "./talk.js";
import { readable } from "./words.js";

const pageSize = 24;
const orders = { added: "Latest in the index", recorded: "Latest recorded", name: "By name" };
const room = document.getElementById("browse");
const cards = document.getElementById("cards");

export function browsed() {
  // what is looked through
  const query = new URLSearchParams({ limit: pageSize });
  for (const name of ["folder", "folder_bytes"]) if (asked().get(name)) query.set(name, asked().get(name));
  query.set("order", orders[asked().get("order")] ? asked().get("order") : "added");
  return query;
}

export async function browse(query, { signal, lay, after, go }) {
  // Shows a page, the first one unless after is the last video of the one before; its videos.
  if (after === undefined) {
    cards.replaceChildren(...skeletons(8));
    room.replaceChildren(head(query, go));
  }
  const told_of = await told(`/browse?${query}${after === undefined ? "" : `&after=${after}`}`, { signal });
  if (signal.aborted) return [];
  if (after === undefined) {
    cards.replaceChildren();
    if (told_of.folders.length) room.append(tiles(told_of.folders.map(folderTile)));
  }
  for (const video of told_of.videos) {
    if (query.get("order") === "recorded") newMonth(video);
    cards.append(lay(video));
  }
  return told_of.videos;
}

export function isWhole(videos) {
  return videos.length < pageSize;
}

function newMonth(video) {
  const month = new Date(video.when_s * 1000).toLocaleDateString(undefined, { year: "numeric", month: "long" });
  const last = [...cards.querySelectorAll(".month")].at(-1);
  if (last?.textContent === month) return;
  const made = element("li", "", "month");
  made.append(element("h2", month));
  cards.append(made);
}

function head(query, go) {
  const made = element("div", "", "head");
  const label = element("label", "Order ");
  const select = element("select");
  select.append(...Object.entries(orders).map(([name, words]) => {
    const option = element("option", words);
    option.value = name;
    option.selected = query.get("order") === name;
    return option;
  }));
  select.addEventListener("change", () => go({ order: select.value === "added" ? "" : select.value }));
  label.append(select);
  made.append(crumbs(query), label);
  return made;
}

function crumbs(query) {
  const list = element("ol", "", "crumbs");
  const made = element("nav");
  made.setAttribute("aria-label", "Folder");
  const path = query.get("folder");
  const step = (words, folder, isHere) => {
    const item = element("li");
    const link = element("a", words);
    const to = new URLSearchParams({ view: "browse" });
    if (folder) to.set("folder", folder);
    if (asked().get("order")) to.set("order", asked().get("order"));
    link.href = `/?${to}`;
    link.dataset.go = "";
    if (isHere) link.setAttribute("aria-current", "page");
    item.append(link);
    list.append(item);
  };
  step("All folders", "", !path && !query.has("folder_bytes"));
  if (query.has("folder_bytes")) list.append(element("li", "a folder whose name is not UTF-8"));
  const sign = path?.startsWith("/") ? "/" : "\\";
  const parts = path ? path.split(sign).filter(Boolean) : [];
  parts.forEach((part, index) => {
    const above = (sign === "/" ? "/" : "") + parts.slice(0, index + 1).join(sign);
    step(readable(part), above, index === parts.length - 1);
  });
  made.append(list);
  return made;
}

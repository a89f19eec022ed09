// Elements, made in one go. Texts are texts, never markup.

export function make(name, properties = {}, ...children) {
  // properties are attributes; those that are functions listen, and false or null leaves one out
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

export function button(text, act, properties = {}) {
  return make("button", { type: "button", click: act, ...properties }, text);
}

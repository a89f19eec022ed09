// Asking the server, and saying what came of it. What comes from a video's name or from a person is set as text, never as
// markup.

const api = "/api/v1";
const state = document.getElementById("state");
let lasting = ""; // what is said again when something passing is over

export function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

export function say(text) {
  state.textContent = text;
  state.className = "";
}

export function complain(text) {
  say(text);
  state.className = "bad";
}

export function settle(text) {
  lasting = text;
  say(text);
}

export function over(passing) {
  if (state.textContent === passing) say(lasting);
}

export function address(path) {
  return api + path;
}

export async function ask(path, options) {
  // The answer, where it is one. Throws an error with the one line that says what is wrong.
  const answer = await fetch(address(path), options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached: is `cezsar serve` still running?");
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const words = {
    401: "The server asks for its token again: load this page anew.",
    429: "The server has too much to do: try again in a moment.",
  }[answer.status] || problem.detail || `The server answered ${answer.status}.`;
  throw Object.assign(new Error(words), { status: answer.status });
}

export async function told(path, options) {
  return (await ask(path, options)).json();
}

export function stretch(video, start, end) {
  return `/videos/${video}/stream?start_s=${start}&end_s=${end}`;
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

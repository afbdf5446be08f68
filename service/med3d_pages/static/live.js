// Brings the parts of a page that change up to date, while somebody looks at it and types nothing into them.
// One stream for each tab says when something happened; while it is cut, and for what it does not tell, a slow clock looks.
"use strict";

const BY_ITSELF = { "X-By-Itself": "1" }; // no use of the session
const SOONEST_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
const everyMs = Number(document.body.dataset.refresh) * 1000;
const followed = document.body.dataset.follow; // of all runs only this one
let stream = null;
let seen = null;
let pauseMs = SOONEST_MS;
let due = null;

async function bringUpToDate() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html", ...BY_ITSELF }, cache: "no-store" });
  if (answer.status === 429 || answer.status >= 500) return; // a service that starts again is back in a moment
  if (answer.redirected || !answer.ok) {
    location.reload();
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (now === null || isTypedInto(part)) continue;
    if (now.innerHTML !== part.innerHTML) swap(part, now);
  }
  document.title = fresh.title;
  if (fresh.body.dataset.refresh === undefined) stop();
}

function isTypedInto(part) {
  const at = document.activeElement;
  return part.contains(at) && at.matches("input:not([type=checkbox]), textarea, select");
}

// The focus stays on the link that it was on, ticked boxes stay ticked.
function swap(part, now) {
  const at = part.contains(document.activeElement) ? document.activeElement : null;
  const focused = at === null ? null : at.hasAttribute("href") ? `a[href="${CSS.escape(at.getAttribute("href"))}"]`
    : at.matches("input[value]") ? `input[value="${CSS.escape(at.value)}"]` : null;
  const opened = [...part.querySelectorAll("details")].map((one) => one.open);
  const ticked = new Set([...part.querySelectorAll("input[type=checkbox]:checked")].map((one) => one.value));
  part.replaceChildren(...now.childNodes);
  for (const box of part.querySelectorAll("input[type=checkbox][name]")) box.checked ||= ticked.has(box.value);
  [...part.querySelectorAll("details")].forEach((one, place) => { one.open = opened[place] === true; });
  if (focused !== null) part.querySelector(focused)?.focus();
}

// --- the stream: read by hand, as an EventSource could not say that nobody is at it ---

async function follow(signal) {
  const since = seen === null ? {} : { "Last-Event-ID": seen };
  const answer = await fetch("/events", { headers: { Accept: "text/event-stream", ...BY_ITSELF, ...since }, cache: "no-store", signal });
  if (answer.status === 401) location.reload();
  if (!answer.ok) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    pauseMs = SOONEST_MS;
    const blocks = (text + value).split(/\r?\n\r?\n/);
    text = blocks.pop();
    for (const block of blocks) hear(block);
  }
}

function hear(block) {
  const fields = Object.fromEntries(block.split(/\r?\n/).map((line) => [line.split(":")[0], line.slice(line.indexOf(":") + 1).trim()]));
  if (fields.id) seen = fields.id;
  if (fields.event !== "run" || followed !== undefined && JSON.parse(fields.data).run_id !== followed) return;
  due ??= setTimeout(() => { due = null; look(); }, SOONEST_MS);
}

async function keepFollowing() {
  stream = new AbortController();
  const { signal } = stream;
  while (!signal.aborted) {
    await follow(signal).catch(() => {});
    if (signal.aborted) return;
    await new Promise((resolve) => { setTimeout(resolve, pauseMs * (0.5 + Math.random())); });
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }
}

function look() {
  bringUpToDate().catch(() => {});
}

function stop() {
  clearInterval(clock);
  stream?.abort();
  stream = null;
}

// A tab that nobody sees holds no connection: browsers open six to a host, for all tabs together.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream?.abort();
  else {
    look();
    if (stream !== null) keepFollowing();
  }
});

const clock = setInterval(look, everyMs);
keepFollowing();

// Sends a form once: a second click while the answer is on its way would do what was asked twice, or show a refusal of it.
"use strict";

const AGAIN_MS = 15_000; // whoever stopped the browser meanwhile may send it again
let sent = new WeakMap();

window.addEventListener("pageshow", () => {
  sent = new WeakMap(); // the browser may bring a page back as it was left: what was sent from it has been answered
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  const now = performance.now();
  if (now - (sent.get(form) ?? -AGAIN_MS) < AGAIN_MS) event.preventDefault();
  else sent.set(form, now);
});

// Brings the parts of a page that change up to date, while somebody looks at it and types nothing into them.
"use strict";

const everyMs = Number(document.body.dataset.refresh) * 1000;

async function bringUpToDate() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-By-Itself": "1" }, cache: "no-store" });
  if (answer.status === 429 || answer.status >= 500) return; // a service that starts again is back in a moment
  if (answer.redirected || !answer.ok) {
    location.reload();
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (now === null || part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) continue;
    if (now.innerHTML !== part.innerHTML) swap(part, now);
  }
  document.title = fresh.title;
  if (fresh.body.dataset.refresh === undefined) clearInterval(timer);
}

// The focus stays on the link that it was on.
function swap(part, now) {
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const opened = [...part.querySelectorAll("details")].map((one) => one.open);
  part.replaceChildren(...now.childNodes);
  [...part.querySelectorAll("details")].forEach((one, place) => { one.open = opened[place] === true; });
  if (focused !== null) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

const timer = setInterval(() => { bringUpToDate().catch(() => {}); }, everyMs);

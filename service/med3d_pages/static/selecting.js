// Ticks all boxes of a list at once. The list may be swapped for a fresh one, so the document listens.
"use strict";

function showBoxesOfAll() {
  for (const one of document.querySelectorAll(".every")) one.hidden = false;
}

document.addEventListener("change", (event) => {
  const name = event.target.dataset.every;
  if (name === undefined) return;
  for (const box of event.target.form.querySelectorAll(`input[name="${name}"]`)) box.checked = event.target.checked;
});
new MutationObserver(showBoxesOfAll).observe(document.getElementById("main"), { childList: true, subtree: true });
showBoxesOfAll();

"use strict";
(function () {
  const names = {{ names }};
  const colours = ["#2b6ca3", "#c8102e", "#b35900", "#2e7d4f", "#6a4c9c", "#1d2733", "#0097a7", "#9fb3c8"];
  const store = "med3d-verdicts:" + location.pathname;
  let verdicts = {};
  try { verdicts = JSON.parse(localStorage.getItem(store)) || {}; } catch { verdicts = {}; }
  const show = () => {
    for (const figure of document.querySelectorAll(".gallery figure")) {
      const verdict = verdicts[figure.dataset.name] || "";
      figure.classList.toggle("accept", verdict === "accept");
      figure.classList.toggle("exclude", verdict === "exclude");
      for (const button of figure.querySelectorAll("button"))
        button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
    }
    const given = names.filter((name) => verdicts[name]).length;
    document.getElementById("count").textContent = given + " of " + names.length + " judged";
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-verdict]");
    if (!button) return;
    const name = button.closest("figure").dataset.name;
    verdicts[name] = verdicts[name] === button.dataset.verdict ? "" : button.dataset.verdict;
    try { localStorage.setItem(store, JSON.stringify(verdicts)); } catch { /* nothing is kept, and all the rest works */ }
    show();
  });
  document.getElementById("save").addEventListener("click", () => {
    const rows = names.map((name) => name + "\t" + (verdicts[name] || "n/a"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["scan\tverdict\n" + rows.join("\n") + "\n"], { type: "text/tab-separated-values" }));
    link.download = "verdicts.tsv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  const over = document.getElementById("over");
  const pictures = {};
  for (const figure of document.querySelectorAll(".gallery figure")) pictures[figure.dataset.name] = figure.querySelector("img").src;
  for (const mark of document.querySelectorAll("a.mark")) {
    const title = mark.querySelector("title");
    const said = title.textContent;
    mark.setAttribute("aria-label", said);
    title.remove();
    mark.addEventListener("pointerenter", (event) => {
      over.textContent = said;
      if (pictures[mark.dataset.name]) {
        const image = new Image();
        image.src = pictures[mark.dataset.name];
        image.alt = "";
        over.prepend(image);
      }
      over.style.display = "block";
      over.style.left = Math.min(event.clientX + 14, innerWidth - over.offsetWidth - 8) + "px";
      over.style.top = Math.min(event.clientY + 14, innerHeight - over.offsetHeight - 8) + "px";
    });
    mark.addEventListener("pointerleave", () => { over.style.display = "none"; });
    mark.dataset.own = mark.querySelector("circle").getAttribute("fill");
  }
  const choice = document.getElementById("colour");
  if (choice) choice.addEventListener("change", () => {
    const seen = [];
    for (const mark of document.querySelectorAll("a.mark")) {
      const level = choice.value ? JSON.parse(mark.dataset.levels)[choice.value] || "n/a" : null;
      if (level !== null && !seen.includes(level)) seen.push(level);
      mark.querySelector("circle").setAttribute("fill", level === null ? mark.dataset.own : colours[seen.indexOf(level) % colours.length]);
    }
    const key = document.getElementById("key");
    key.textContent = "";
    seen.forEach((level, number) => {
      const word = document.createElement("span");
      word.style.color = colours[number % colours.length];
      word.textContent = "\u25cf " + level + "  ";
      key.append(word);
    });
  });
  show();
})();

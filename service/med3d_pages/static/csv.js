// Reads a table that is dropped or chosen into the field where it would be pasted; a person still sends it.
"use strict";

const MOST_BYTES = 2_000_000;
const table = document.querySelector("form[data-drop]");
const rows = table.elements[table.dataset.drop];
for (const one of table.querySelectorAll(".scripted")) one.hidden = false;

async function take(file) {
  if (file === undefined) return;
  rows.value = file.size > MOST_BYTES ? "" : await file.text();
  rows.focus();
}

document.getElementById("file").addEventListener("change", (event) => { take(event.target.files[0]); });
for (const kind of ["dragover", "dragenter"]) {
  table.addEventListener(kind, (event) => { event.preventDefault(); table.classList.add("over"); });
}
table.addEventListener("dragleave", () => table.classList.remove("over"));
table.addEventListener("drop", (event) => {
  event.preventDefault();
  table.classList.remove("over");
  take(event.dataTransfer.files[0]);
});

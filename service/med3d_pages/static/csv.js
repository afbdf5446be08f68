// Reads a table that is dropped or chosen into the field where it would be pasted; a person still sends it.
"use strict";

const MOST_BYTES = 2_000_000; // as a form carries it: a comma takes three
const table = document.querySelector("form[data-drop]");
const rows = table.elements[table.dataset.drop];
for (const one of table.querySelectorAll(".scripted")) one.hidden = false;

async function take(file) {
  if (file === undefined) return;
  const text = file.size > MOST_BYTES ? null : textOf(await file.arrayBuffer());
  const isTooLarge = text === null || new URLSearchParams({ text }).toString().length > MOST_BYTES;
  document.getElementById("too-large").hidden = !isTooLarge;
  if (isTooLarge) return;
  rows.value = text;
  rows.focus();
}

// Spreadsheets write UTF-8, UTF-16 with its mark, or the letters of Windows.
function textOf(buffer) {
  const [first, second] = new Uint8Array(buffer);
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(buffer);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(buffer);
  } catch {
    return new TextDecoder("windows-1252").decode(buffer);
  }
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

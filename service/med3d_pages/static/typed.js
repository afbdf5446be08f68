// Gives a form back what was typed into it, when it was refused or somebody had to sign in again in between. The text
// stays in this tab: it is kept when a page is left, and thrown away by the next page, unless that one asks to sign in
// or says why the form was refused.
"use strict";

const KEPT = "typed";
const MOST_CHARACTERS = 200_000;
const TYPED = "textarea, input:not([type]), input[type=text], input[type=number], input[type=date]"; // never a password
const person = document.body.dataset.person; // absent where the page asks to sign in, or refuses a form

function controls(form, kinds) {
  return [...form.elements].filter((one) => one.name !== "" && one.matches(kinds));
}

function keep() {
  const forms = [...document.querySelectorAll("form[method=post]")]
    .filter((form) => controls(form, TYPED).some((one) => one.value !== one.defaultValue))
    .map((form) => ({
      action: form.getAttribute("action"),
      texts: controls(form, `${TYPED}, select`).map((one) => [one.name, one.value]),
      ticked: controls(form, "input[type=radio], input[type=checkbox]").filter((one) => one.checked).map((one) => [one.name, one.value]),
    }));
  const text = JSON.stringify({ person, forms, asked: false });
  if (forms.length > 0 && text.length <= MOST_CHARACTERS) sessionStorage.setItem(KEPT, text);
  else sessionStorage.removeItem(KEPT);
}

function giveBack({ action, texts, ticked }) {
  const form = [...document.querySelectorAll("form[method=post]")].find((one) => one.getAttribute("action") === action);
  if (form === undefined) return;
  for (const [name, value] of texts) {
    for (const one of controls(form, `${TYPED}, select`)) if (one.name === name) one.value = value;
  }
  for (const one of controls(form, "input[type=radio], input[type=checkbox]")) {
    one.checked = ticked.some(([name, value]) => name === one.name && value === one.value);
  }
  const said = document.createElement("p");
  said.className = "notice";
  said.setAttribute("role", "status");
  said.textContent = document.body.dataset.typedAgain;
  form.prepend(said);
  said.scrollIntoView({ block: "center" });
}

const found = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
if (person === undefined) {
  if (found !== null) {
    sessionStorage.setItem(KEPT, JSON.stringify({ ...found, asked: true }));
    document.getElementById("typed-kept").hidden = false;
  }
} else {
  sessionStorage.removeItem(KEPT);
  if (found?.asked && found.person === person) found.forms.forEach(giveBack);
  addEventListener("pagehide", keep);
}

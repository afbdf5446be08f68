// Sends what is dropped or chosen, study by study, and follows each to its answer. Without it the form does one at a time.
"use strict";

const form = document.getElementById("upload");
const say = form.dataset;
const list = document.querySelector("#sent ul");
const FOLLOW_MS = 1500;
const words = new Map([...document.querySelectorAll("#words > div")].map((one) => [one.dataset.of, one.textContent]));
const written = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const waiting = [];
let busy = false;
let over = false; // the session is

for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
document.querySelector("#drop .plain").hidden = true;

// --- what was chosen, as studies: a folder is one, and so is each file beside it ---

function studiesOfFiles(files) {
  const dicom = files.filter((file) => !/\.(zip|tar|tgz|tar\.gz|nii|nii\.gz|mgz)$/i.test(file.name));
  const alone = files.filter((file) => !dicom.includes(file));
  const studies = alone.map((file) => ({ name: file.name, files: [file] }));
  if (dicom.length > 0) studies.push({ name: dicom.length === 1 ? dicom[0].name : say.files.replace("%s", dicom.length), files: dicom });
  return studies;
}

async function filesBelow(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0) return found;
    for (const one of some) found.push(...await filesBelow(one));
  }
}

async function studiesOfDrop(items) {
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const studies = [];
  const loose = [];
  for (const entry of entries) {
    if (entry.isDirectory) studies.push({ name: entry.name, files: await filesBelow(entry) });
    else loose.push(...await filesBelow(entry));
  }
  return [...studies, ...studiesOfFiles(loose)];
}

document.getElementById("files").addEventListener("change", (event) => {
  add(studiesOfFiles([...event.target.files]));
  event.target.value = ""; // the same file once more, as with another age, is else no change that a browser tells of
});
document.getElementById("folder").addEventListener("change", (event) => {
  const files = [...event.target.files];
  if (files.length > 0) add([{ name: files[0].webkitRelativePath.split("/")[0], files }]);
  event.target.value = "";
});
const drop = document.getElementById("drop");
for (const kind of ["dragover", "dragenter"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  studiesOfDrop(event.dataTransfer.items).then(add, () => {});
});
form.addEventListener("submit", (event) => event.preventDefault());

// --- one after the other to the API ---

function add(studies) {
  for (const study of studies) {
    if (study.files.length === 0) continue;
    const fields = new FormData();
    for (const name of ["age", "sex", "subject", "priority"]) {
      const value = form.elements[name].value;
      if (value !== "") fields.append(name, value);
    }
    for (const file of study.files) fields.append("files", file, "image");
    waiting.push({ fields, line: lineOf(study.name) });
  }
  next();
}

function lineOf(name) {
  document.getElementById("sent").hidden = false;
  const line = document.createElement("li");
  const title = document.createElement("strong");
  title.textContent = name;
  const state = document.createElement("span");
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", name);
  line.append(title, " ", state, " ", bar);
  list.prepend(line);
  return { line, state, bar };
}

function next() {
  const one = waiting[0];
  if (busy || over || one === undefined) return;
  busy = true;
  waiting.shift();
  const request = new XMLHttpRequest();
  request.open("POST", "/studies");
  request.setRequestHeader("X-CSRF-Token", say.token);
  request.upload.addEventListener("progress", (event) => {
    if (!event.lengthComputable) return;
    one.line.bar.value = event.loaded / event.total;
    one.line.state.textContent = say.sending.replace("%s", Math.round(100 * event.loaded / event.total));
  });
  request.addEventListener("load", () => { taken(one, request); });
  request.addEventListener("error", () => { refused(one.line, say.lost); });
  request.addEventListener("loadend", () => { busy = false; next(); });
  request.send(one.fields);
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

// The files that were chosen would be lost with the page: it stays, and goes on when somebody has signed in in another tab.
function pause(one) {
  over = true;
  waiting.unshift(one);
  one.line.bar.value = 0;
  one.line.state.textContent = say.over;
  document.getElementById("over").hidden = false;
}

async function goOn() {
  const answer = await fetch(`${say.pages}/upload`).catch(() => null);
  if (answer === null || !answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const token = page.getElementById("upload")?.dataset.token;
  if (token === undefined) return;
  say.token = token;
  over = false;
  document.getElementById("over").hidden = true;
  next();
}

document.querySelector("#over button").addEventListener("click", goOn);

function taken(one, request) {
  const { line } = one;
  if (request.status === 401) {
    pause(one);
    return;
  }
  const answer = read(request.responseText);
  if (answer === null) { // a proxy's own page
    refused(line, say.lost);
    return;
  }
  if (answer.code === "not_from_our_page") { // somebody has signed in again in another tab: its token is another one
    pause(one);
    return;
  }
  if (request.status !== 200 && request.status !== 202) {
    const remedy = words.get(`help.${answer.code}`) ?? answer.remedy;
    refused(line, ...whyNot({ code: answer.code, reason: answer.detail }), ` ${remedy} (${answer.code})`);
    return;
  }
  const link = document.createElement("a");
  link.href = `${say.pages}/runs/${answer.run_id}`;
  link.textContent = say.open;
  link.setAttribute("aria-label", `${say.open}: ${line.line.querySelector("strong").textContent}`);
  line.bar.removeAttribute("value");
  line.state.textContent = say.kept;
  line.line.append(" ", link);
  follow(line, answer.run_id);
}

function refused(line, ...why) {
  line.bar.remove();
  line.line.classList.add("bad");
  line.state.replaceChildren(`${say.failed}: `, ...why);
}

// --- to its answer ---

async function follow(line, runId) {
  for (;;) {
    await new Promise((done) => { setTimeout(done, FOLLOW_MS); });
    const answer = await fetch(`/runs/${runId}`, { headers: { "X-By-Itself": "1" } }).catch(() => null);
    if (answer !== null && [401, 403, 404].includes(answer.status)) { // signed out, or the study is gone
      line.bar.remove();
      line.state.textContent = say.kept;
      return;
    }
    if (answer === null || !answer.ok) continue;
    const run = await answer.json();
    if (!["completed", "refused", "failed", "cancelled"].includes(run.status)) {
      line.state.textContent = words.get(`step.${run.stage}`) ?? run.stage ?? say.kept;
      continue;
    }
    line.bar.remove();
    const badge = document.createElement("span");
    const shown = run.result === null ? run.status : run.result.assessment.decision;
    badge.className = `badge ${shown}`;
    badge.textContent = say[shown];
    line.state.replaceChildren(badge, ...(run.result === null ? whyNot(run.refusal ?? run.failure) : [" ", inWords(run.result.brain_age)]));
    return;
  }
}

function inWords({ estimate, interval }) {
  return say.number.replace("%e", written.format(estimate)).replace("%l", Math.round(100 * interval.level))
    .replace("%f", written.format(interval.lower)).replace("%t", written.format(interval.upper));
}

// The service's own sentence, with what the code means before it where the page speaks another language.
function whyNot(fault) {
  if (!fault) return [];
  const meaning = words.get(`meaning.${fault.code}`) ?? words.get(`said.${fault.code}`);
  if (meaning === undefined) return [` ${fault.reason}`];
  const own = document.createElement("span");
  own.className = "faint";
  own.lang = "en";
  own.textContent = fault.reason;
  return [` ${meaning} `, own];
}

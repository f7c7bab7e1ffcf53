"use strict";
// Texts of models and data become text by `textContent` alone; no markup is ever made of a string.
const at = (id) => document.getElementById(id);
const SIDES = ["left", "right"];
let rater = "", sheet = null, busy = false;

async function ask(what, more) {
  if (busy) return;
  busy = true;
  try {
    const reply = await fetch(what, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({rater, ...more}),
    });
    const told = await reply.json();
    problem(reply.ok ? "" : `${told.problem}: ${told.hint}`);
    if (reply.ok) return told;
  } catch (error) {
    problem("The answer was not saved: luthier does not reply. Is it still running?");
  } finally {
    busy = false;
  }
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

function show(told) {
  if (!told) return;
  sheet = told;
  const open = "key" in told;
  at("who").hidden = true;
  at("sheet").hidden = !open;
  at("thanks").hidden = open;
  at("count").textContent = `${told.done} of ${told.of}`;
  at("bar").max = Math.max(1, told.of);
  at("bar").value = told.done;
  if (!open) return;
  for (const name of ["prompt", "left", "right", "expected"]) {
    at(name).textContent = told[name] ?? "";
    at(name).scrollTop = 0;
  }
  at("reference").hidden = told.expected === null;
  SIDES.forEach(rate);
  window.scrollTo(0, 0);
}

function rate(side) {
  at(`rate-${side}`).replaceChildren(...Object.entries(sheet.rubric).map(([name, meaning]) => {
    const field = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = name;
    legend.title = meaning;
    field.append(legend);
    for (let number = 1; number <= 5; number++) {
      const label = document.createElement("label"), input = document.createElement("input");
      input.type = "radio";
      input.name = `${side} ${name}`;
      input.value = String(number);
      label.append(input, ` ${number}`);
      field.append(label);
    }
    return field;
  }));
}

function ratings() {
  const found = {};
  for (const side of SIDES) {
    for (const name of Object.keys(sheet.rubric)) {
      const chosen = [...document.getElementsByName(`${side} ${name}`)].find((input) => input.checked);
      if (chosen) (found[side] ??= {})[name] = Number(chosen.value);
    }
  }
  return found;
}

async function say(choice) {
  if (!sheet || !("key" in sheet)) return;
  show(await ask("say", {key: sheet.key, choice, ratings: choice === "skip" ? {} : ratings()}));
}

async function begin() {
  rater = at("name").value.trim();
  show(await ask("sheet"));
}

at("who").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
for (const button of document.querySelectorAll("[data-say]")) {
  button.addEventListener("click", () => say(button.dataset.say));
}
for (const id of ["back", "undo-last"]) at(id).addEventListener("click", async () => show(await ask("back")));
at("other").addEventListener("click", () => {
  at("thanks").hidden = true;
  at("who").hidden = false;
  at("name").value = "";
  at("name").focus();
});
at("end").addEventListener("click", async () => {
  if (await ask("end")) document.body.replaceChildren("The report is being written. You can close this page.");
});

const KEYS = {ArrowLeft: "left", ArrowRight: "right", "=": "tie", t: "tie", s: "skip"};
document.addEventListener("keydown", async (event) => {
  const input = event.target instanceof HTMLInputElement;
  const own = input && (event.target.type !== "radio" || event.key.startsWith("Arrow"));  // what moves within it
  if (own || event.ctrlKey || event.metaKey || event.altKey || event.repeat || at("sheet").hidden) return;
  if (event.key === "u") show(await ask("back"));
  else if (event.key in KEYS) say(KEYS[event.key]);
  else return;
  event.preventDefault();
});
at("name").focus();

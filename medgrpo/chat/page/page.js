// The page of `python -m medgrpo.chat`. What models wrote goes into textContent, never into markup.
"use strict";

const SHOWN = 200; // rows in the list
const $ = (id) => document.getElementById(id);
const state = { rows: [], columns: [], place: null, stop: null };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// ---- held-out rows

function answered(row, column) {
  return row.answers[column];
}

function matches(row) {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [row.id, row.question, ...row.options].join(" ").toLowerCase();
  if (!words.every((word) => text.includes(word))) return false;
  const kind = $("filter").value;
  if (kind === "all") return true;
  const before = answered(row, $("from").value), after = answered(row, $("to").value);
  if (!after) return false;
  if (kind === "right" || kind === "wrong") return after.right === (kind === "right");
  if (!before) return false;
  if (kind === "changed") return before.predicted !== after.predicted;
  return before.right !== after.right && after.right === (kind === "gained");
}

function listRows() {
  const found = state.rows.map((row, place) => [row, place]).filter(([row]) => matches(row));
  const items = found.slice(0, SHOWN).map(([row, place]) => {
    const button = element("button", row.question.slice(0, 140));
    button.type = "button";
    button.setAttribute("aria-current", String(place === state.place));
    button.append(element("small", `${row.id} · gold ${row.gold}`));
    button.addEventListener("click", () => pick(place));
    const item = element("li");
    item.append(button);
    return item;
  });
  $("list").replaceChildren(...items);
  const more = found.length > SHOWN ? `, the first ${SHOWN} shown: search for others` : "";
  $("count").textContent = `${found.length} of ${state.rows.length} rows${more}`;
}

function pick(place) {
  const row = state.rows[place];
  state.place = place;
  $("question").value = row.question;
  $("options").value = row.options.join("\n");
  $("context").value = row.context.join("\n\n");
  $("passages").hidden = false;
  for (const column of state.columns) {
    const found = answered(row, column.name);
    clear(column);
    if (found) {
      column.note.textContent = "what evaluation recorded:";
      column.text.textContent = found.response;
      verdict(column, { predicted: found.predicted, correct: found.right, gold: row.gold });
    }
  }
  changed();
  listRows();
}

const lines = (id, by) => $(id).value.split(by).map((one) => one.trim()).filter(Boolean);

function fields() {
  return {
    question: $("question").value,
    options: lines("options", "\n"),
    context: lines("context", /\n\s*\n/),
  };
}

// Whether the form still holds the row that was picked.
function pickedRow() {
  if (state.place === null) return null;
  const row = state.rows[state.place];
  const same = $("question").value === row.question
    && $("options").value === row.options.join("\n")
    && $("context").value === row.context.join("\n\n");
  return same ? state.place : null;
}

function changed() {
  const place = pickedRow();
  $("which").textContent = place !== null
    ? `held-out row ${state.rows[place].id}, gold ${state.rows[place].gold}`
    : state.place !== null ? "edited: its gold answer may no longer be right and is not used"
    : "a question of your own: no gold answer is known";
}

// ---- answers

function clear(column) {
  column.note.textContent = "";
  column.text.textContent = "";
  column.facts.replaceChildren();
  column.judge.hidden = true;
}

function facts(column, pairs) {
  for (const [name, value, className] of pairs) {
    const line = element("tr");
    line.append(element("th", name), element("td", value, className));
    column.facts.append(line);
  }
}

function verdict(column, answer) {
  const mark = answer.correct === true ? ["right", "right"] : answer.correct === false ? ["wrong", "wrong"] : null;
  const read = answer.predicted === null ? "no answer could be read" : answer.predicted;
  facts(column, [["answer read", mark ? `${read} (${mark[0]})` : read, mark ? mark[1] : ""]]);
  if (answer.gold) facts(column, [["gold", answer.gold]]);
}

const number = (value) => (value === null ? "no verdict" : value.toFixed(2));

function show(column, answer, asked) {
  column.text.textContent = answer.response;
  column.note.textContent = `${answer.tokens} tokens${answer.truncated ? ", cut off" : ""}`;
  verdict(column, answer);
  facts(column, [["form", answer.complies ? "as the prompt asks" : "other than the prompt asks"]]);
  const about = Object.entries(answer.rewards).filter(([, value]) => value !== null);
  facts(column, about.map(([name, value]) => [name, number(value)])); // null: not about such rows
  column.judge.hidden = !state.judged;
  column.judge.onclick = () => judge(column, { ...asked, response: answer.response });
}

async function failure(response) {
  const told = await response.json().catch(() => ({}));
  return new Error(told.error || `the server says ${response.status}`);
}

const post = (path, body, signal) => fetch(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
});

async function askColumn(column, asked, signal) {
  clear(column);
  column.note.textContent = "waiting ...";
  const response = await post("/api/ask", { ...asked, column: column.name }, signal);
  if (!response.ok) throw await failure(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const line of parts) {
      const told = JSON.parse(line);
      if (told.error) throw new Error(told.error);
      if (told.answer) show(column, told.answer, { ...asked, column: column.name });
      else { column.note.textContent = "writing ..."; column.text.append(told.text); }
    }
  }
}

async function ask() {
  const place = pickedRow();
  const asked = {
    ...(place === null ? fields() : { place }),
    temperature: Number($("temperature").value),
    max_new_tokens: Number($("max_new_tokens").value),
    seed: Number($("seed").value),
  };
  const stop = new AbortController();
  state.stop = stop;
  $("error").textContent = "";
  busy(true);
  try {
    for (const column of state.columns.filter((one) => one.on.checked)) {
      await askColumn(column, asked, stop.signal);
    }
  } catch (error) {
    if (!stop.signal.aborted) $("error").textContent = error.message;
  } finally {
    if (stop.signal.aborted) {
      for (const column of state.columns) {
        if (/ing \.\.\.$/.test(column.note.textContent)) column.note.textContent = "stopped";
      }
    }
    busy(false);
  }
}

async function judge(column, asked) {
  column.judge.disabled = true;
  $("error").textContent = "";
  try {
    const response = await post("/api/judge", asked);
    if (!response.ok) throw await failure(response);
    const { rewards } = await response.json();
    facts(column, Object.entries(rewards).map(
      ([name, one]) => [name, number(one.score) + (one.reason ? `: ${one.reason}` : "")],
    ));
    column.judge.hidden = true;
  } catch (error) {
    $("error").textContent = error.message;
  } finally {
    column.judge.disabled = false;
  }
}

function busy(is) {
  $("ask").disabled = is;
  $("again").disabled = is;
  $("stop").disabled = !is;
}

// ---- start

function addColumn(name) {
  const box = element("section", undefined, "column"), title = element("h3");
  const on = element("input"), label = element("label");
  on.type = "checkbox";
  on.checked = true;
  label.append(on, ` ${name}`);
  title.append(label);
  const column = {
    name, on, note: element("p", "", "note"), text: element("pre"), facts: element("tbody"),
    judge: element("button", "Ask the judge"),
  };
  column.text.setAttribute("aria-label", `answer of ${name}`);
  column.text.tabIndex = 0;
  column.judge.type = "button";
  column.judge.hidden = true;
  const table = element("table");
  table.append(column.facts);
  box.append(title, column.note, column.text, table, column.judge);
  $("columns").append(box);
  state.columns.push(column);
}

async function start() {
  const response = await fetch("/api/start");
  if (!response.ok) throw await failure(response);
  const told = await response.json();
  state.rows = told.rows;
  state.judged = told.judged;
  told.columns.forEach(addColumn);
  $("max_new_tokens").value = told.max_new_tokens;
  for (const id of ["from", "to"]) {
    $(id).replaceChildren(...told.columns.map((name) => element("option", name)));
  }
  $("to").selectedIndex = told.columns.length - 1;
  $("pair").hidden = told.columns.length < 2;
  for (const id of ["search", "filter", "from", "to"]) $(id).addEventListener("input", listRows);
  for (const id of ["question", "options", "context"]) $(id).addEventListener("input", changed);
  $("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("stop").addEventListener("click", () => state.stop.abort());
  $("again").addEventListener("click", () => {
    $("seed").value = Number($("seed").value) + 1;
    if (Number($("temperature").value) === 0) $("temperature").value = 0.7;
    ask();
  });
  $("clear").addEventListener("click", () => {
    state.place = null;
    for (const id of ["question", "options", "context"]) $(id).value = "";
    state.columns.forEach(clear);
    changed();
    listRows();
  });
  changed();
  listRows();
}

start().catch((error) => { $("error").textContent = error.message; });

"use strict";
// Draws a comparison from the JSON in the page. Text is only ever set as text: answers of a model
// are not trusted to be harmless HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const { jobs, keys } = data;
document.body.classList.toggle("many", jobs.length > 30); // thinner lines, which show where most are
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a00", "#000000"];
const byId = (id) => document.getElementById(id);
const known = (value) => value !== null && value !== undefined;
const number = (value, digits = 3) => (known(value) ? value.toFixed(digits) : "–");
const percent = (value) => (known(value) ? `${(100 * value).toFixed(1)} %` : "–");
const p = (value) => (known(value) && value < 0.001 ? "< 0.001" : number(value));
const span = (low, high) => (known(low) ? `${low.toFixed(3)} to ${high.toFixed(3)}` : "–");

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function duration(seconds) {
  if (!known(seconds)) return "–";
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

// A column: {label, value(row), show(row), number, className(row)}. Clicking its heading sorts.
function table(place, columns, rows, nothing) {
  if (!rows.length) return place.replaceChildren(element("p", { class: "note" }, nothing));
  const body = element("tbody");
  const fill = (sorted) => body.replaceChildren(...sorted.map((row) => element("tr", {}, ...columns.map((column) => {
    const shown = String((column.show ?? column.value)(row) ?? "–");
    const kind = [column.number || shown.length <= 24 ? "short" : "text", column.number ? "number" : "", column.className?.(row) ?? ""].join(" ");
    return element("td", { class: kind }, shown);
  }))));
  const headings = columns.map((column) => {
    const button = element("button", { type: "button" }, column.label);
    const heading = element("th", { scope: "col", class: column.number ? "number" : "" }, button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
      fill([...rows].sort((a, b) => order(column.value(a), column.value(b), up)));
    });
    return heading;
  });
  fill(rows);
  place.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...headings)), body));
}

// Numbers by size, text by its letters and numbers within; what is not known last, either way.
function order(a, b, up) {
  if (!known(a) || !known(b)) return known(b) - known(a);
  if (typeof a === "number" && typeof b === "number") return up * (a - b);
  return up * String(a).localeCompare(String(b), "en", { numeric: true });
}

const breakable = (key) => key.replace(/([._])/g, "$1\u200b"); // long keys fold at their parts
const setting = (key) => ({ label: breakable(key), value: (job) => job.values[key] });
const severalSets = new Set(jobs.map((job) => job.test_set)).size > 1;
const testSet = (get) => (severalSets ? [{ label: "test set", value: (row) => get(row).test_set }] : []);

function ranking() {
  const columns = [
    { label: "#", value: (job) => job.rank, number: true },
    ...testSet((job) => job),
    ...keys.map(setting),
    { label: "status", value: (job) => job.status, show: (job) => job.status + (job.error ? `: ${job.error}` : ""), className: (job) => job.status },
    ...(jobs.some((job) => known(job.validation_score)) ? [{ label: "validation", value: (job) => job.validation_score, show: (job) => number(job.validation_score, job.digits), number: true }] : []),
    { label: "score", value: (job) => job.score, show: (job) => number(job.score, job.digits), number: true },
    { label: "95 % interval", value: (job) => job.score_low, show: (job) => span(job.score_low, job.score_high), number: true },
    ...[...new Set(jobs.flatMap((job) => Object.keys(job.more)))].map((label) => ({ label, value: (job) => job.more[label], show: (job) => number(job.more[label]), number: true })),
    { label: "unparsed", value: (job) => job.unparsed_rate, show: (job) => percent(job.unparsed_rate), number: true },
    { label: "reward", value: (job) => job.reward, show: (job) => number(job.reward), number: true },
    { label: "judge $", value: (job) => job.judge_cost, show: (job) => number(job.judge_cost, 2), number: true },
    { label: "wall time", value: (job) => job.wall_seconds, show: (job) => duration(job.wall_seconds), number: true },
    { label: "run", value: (job) => job.run },
  ];
  table(byId("ranking"), columns, jobs, "");
}

// What each reward moved, beside its weight.
function effective() {
  const names = [...new Set(jobs.flatMap((job) => Object.keys(job.effective)))].sort();
  const shown = (job, name) => (known(job.effective[name]) ? `${percent(job.effective[name])} (weight ${job.asked[name] ?? "–"})` : "–");
  const columns = [
    { label: "run", value: (job) => job.run },
    ...keys.map(setting),
    ...names.map((name) => ({ label: breakable(name), value: (job) => job.effective[name], show: (job) => shown(job, name), number: true })),
  ];
  table(byId("effective"), columns, jobs.filter((job) => Object.keys(job.effective).length), "No run has logged it.");
}

// One axis: where a job's value lies, 0 (bottom) to 1 (top), and the labels to write along it.
function axis(name, value) {
  const all = jobs.map(value).filter(known);
  const numbers = all.every((each) => each !== "" && Number.isFinite(Number(each)));
  const distinct = [...new Set(all)].sort((a, b) => order(numbers ? Number(a) : a, numbers ? Number(b) : b, 1));
  const isResult = !keys.includes(name);
  const ticks = isResult ? [...new Set([distinct[0], distinct.at(-1)])].filter(known) : distinct;
  const low = Number(distinct[0]), range = Number(distinct.at(-1)) - low;
  const at = (each) => {
    if (isResult) return range ? (each - low) / range : 0.5;
    return distinct.length > 1 ? distinct.indexOf(each) / (distinct.length - 1) : 0.5;
  };
  return { name, value, ticks, at, label: (tick) => (isResult ? tick.toFixed(3) : String(tick)) };
}

function parallel() {
  const place = byId("parallel");
  const axes = [
    ...keys.map((key) => axis(key, (job) => job.values[key])),
    ...[["unparsed", "unparsed_rate"], ["reward", "reward"], ["score", "score"]].map(([name, field]) => axis(name, (job) => job[field])),
  ].filter((each) => each.ticks.length);
  if (axes.length < 2) return place.replaceChildren(element("p", { class: "note" }, "No run has results yet."));
  const width = Math.max(place.clientWidth, 150 * axes.length), height = 320, top = 30, bottom = 20;
  const x = (index) => 70 + (index * (width - 150)) / (axes.length - 1);
  const y = (share) => height - bottom - share * (height - top - bottom);
  const drawing = element("svg", { viewBox: `0 0 ${width} ${height}`, style: `width:${width}px`, role: "img", "aria-label": "Settings and results of each run" });
  const score = axes.at(-1).name === "score" ? axes.at(-1) : null;
  const worth = (job) => (known(job.score) ? job.score * (job.higher_is_better ? 1 : -1) : -Infinity);
  for (const job of [...jobs].sort((one, other) => worth(one) - worth(other))) { // the best on top
    const points = axes.map((each, index) => (known(each.value(job)) ? [x(index), y(each.at(each.value(job)))] : null)).filter(known);
    const place = score && known(job.score) ? score.at(job.score) : null;
    const shade = known(place) ? 75 - 50 * (job.higher_is_better ? place : 1 - place) : 88;
    drawing.append(...line(points, `hsl(205 85% ${shade}%)`, job, byId("parallel-run")));
  }
  axes.forEach((each, index) => {
    drawing.append(element("line", { class: "axis", x1: x(index), x2: x(index), y1: y(0), y2: y(1) }));
    drawing.append(element("text", { x: x(index), y: 14, "text-anchor": "middle" }, shortened(each.name, 22), element("title", {}, each.name)));
    each.ticks.filter((_, i) => i % Math.ceil(each.ticks.length / 16) === 0).forEach((tick) => drawing.append(
      element("text", { x: x(index) + 6, y: y(each.at(tick)) + 4 }, shortened(each.label(tick), 18), element("title", {}, each.label(tick)))));
  });
  place.replaceChildren(drawing);
}

const shortened = (text, size) => (text.length > size ? `…${text.slice(1 - size)}` : text);
const path = (points) => `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;

// A run's line, and a wider invisible one to point at, which names the run in `hint`.
function line(points, colour, job, hint) {
  if (!points.length) return [];
  const drawn = element("path", { class: "run", d: path(points), stroke: colour });
  const reach = element("path", { class: "reach", d: path(points) });
  reach.addEventListener("pointerenter", () => { drawn.classList.add("on"); hint.textContent = described(job); });
  reach.addEventListener("pointerleave", () => drawn.classList.remove("on"));
  return [drawn, reach];
}

function described(job) {
  const settings = keys.map((key) => `${key}=${job.values[key]}`).join(", ");
  return `${job.run}: score ${number(job.score, job.digits)}${settings ? `; ${settings}` : ""}`;
}

function curves() {
  const values = [...new Set(jobs.map(colourOf))].sort((a, b) => order(a, b, 1));
  const colour = (job) => {
    const place = values.indexOf(colourOf(job));
    return values.length <= COLOURS.length ? COLOURS[place] : `hsl(${(300 * place) / values.length} 70% 42%)`;
  };
  byId("legend").replaceChildren(...(values.length > 24 ? [] : values.map((value) => {
    const job = jobs.find((each) => colourOf(each) === value);
    return element("span", {}, element("i", { style: `background:${colour(job)}` }), value);
  })));
  const names = [...new Set(jobs.flatMap((job) => Object.keys(job.curves)))];
  byId("curves").replaceChildren(...names.map((name) => panel(name, colour)));
  if (!names.length) byId("curves").append(element("p", { class: "note" }, "No run has logged a step."));
}

const colourOf = (job) => (byId("colour").value === "run" ? job.run : job.values[byId("colour").value]);

function panel(name, colour) {
  const width = 320, height = 190, left = 46, bottom = 22;
  const shown = jobs.filter((job) => job.curves[name]);
  const logged = shown.flatMap((job) => job.curves[name]).filter(known);
  const last = Math.max(...shown.map((job) => job.steps.at(-1)));
  const isShare = /^rewards\/.*\/mean$/.test(name);
  const low = isShare ? 0 : extreme(logged, Math.min), high = isShare ? 1 : extreme(logged, Math.max);
  const x = (step) => left + (step / last) * (width - left - 6);
  const y = (value) => height - bottom - ((value - low) / (high - low || 1)) * (height - bottom - 8);
  const drawing = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name} during training` });
  for (const [value, at] of [[low, y(low)], [high, y(high)]]) {
    drawing.append(element("line", { class: "axis", x1: left, x2: width, y1: at, y2: at }));
    drawing.append(element("text", { x: left - 4, y: at + 4, "text-anchor": "end" }, isShare ? String(value) : value.toPrecision(3)));
  }
  drawing.append(element("text", { x: left, y: height - 6 }, "step 0"), element("text", { x: width - 6, y: height - 6, "text-anchor": "end" }, String(last)));
  for (const job of shown) {
    const points = job.curves[name].map((value, i) => (known(value) ? [x(job.steps[i]), y(value)] : null)).filter(known);
    drawing.append(...line(points, colour(job), job, byId("curve-run")));
  }
  return element("figure", {}, element("figcaption", {}, name.replace(/^rewards\/(.*)\/mean$/, "$1")), drawing);
}

// Math.min(...values) fails on the lengths that sweeps have.
const extreme = (values, pick) => values.reduce((a, b) => pick(a, b), values[0]);

function settings() {
  const run = (setting) => jobs[setting.jobs[0]];
  const digits = (setting) => run(setting).digits;
  const signed = (value, digits) => (value > 0 ? "+" : "") + number(value, digits);
  const contrast = (label, name, show) => ({ label, value: (setting) => setting.contrast[name], show: (setting) => show(setting.contrast[name], digits(setting)), number: true });
  const overSeeds = [
    { label: "95 % interval", value: (setting) => setting.low, show: (setting) => span(setting.low, setting.high), number: true },
    { label: "deviation of seeds", value: (setting) => setting.deviation, show: (setting) => number(setting.deviation), number: true },
  ];
  const toBaseline = [
    contrast("difference to baseline", "difference", signed),
    { label: "95 % interval, crossed", value: (setting) => setting.contrast.low, show: (setting) => span(setting.contrast.low, setting.contrast.high), number: true },
    contrast("p crossed", "p_crossed", p),
    contrast("p seeds", "p_seeds", p),
    { label: "p (Holm)", value: (setting) => setting.p_holm, show: (setting) => p(setting.p_holm), number: true },
  ];
  const columns = [
    ...testSet(run),
    ...keys.filter((key) => key !== "seed").map((key) => ({ label: breakable(key), value: (setting) => run(setting).values[key] })),
    { label: "seeds", value: (setting) => setting.seeds, number: true },
    ...(data.settings.some((setting) => known(setting.validation)) ? [{ label: "validation", value: (setting) => setting.validation, show: (setting) => number(setting.validation, digits(setting)), number: true }] : []),
    { label: "mean score", value: (setting) => setting.mean, show: (setting) => number(setting.mean, digits(setting)), number: true },
    ...(data.settings.some((setting) => setting.seeds > 1) ? overSeeds : []),
    ...(data.settings.some((setting) => known(setting.p_holm)) ? toBaseline : []),
    { label: "conclusion", value: (setting) => setting.conclusion },
  ];
  table(byId("settings"), columns, data.settings, "");
}

function tests() {
  const setting = (place) => data.settings.findIndex((each) => each.jobs.includes(place));
  const first = new Set(jobs.map((job) => jobs.findIndex((other) => other.test_set === job.test_set)));
  const rows = data.pairs.filter((pair) => first.has(pair.first) && setting(pair.first) !== setting(pair.second));
  const columns = [
    ...testSet((pair) => jobs[pair.first]),
    { label: "first run", value: (pair) => jobs[pair.first].run },
    { label: "other run", value: (pair) => jobs[pair.second].run },
    { label: "rows", value: (pair) => pair.rows, number: true },
    { label: "first alone right", value: (pair) => pair.first_better, number: true },
    { label: "other alone right", value: (pair) => pair.second_better, number: true },
    { label: "p", value: (pair) => pair.p, show: (pair) => p(pair.p), number: true },
    { label: "p (Holm)", value: (pair) => pair.p_holm, show: (pair) => p(pair.p_holm), number: true },
  ];
  table(byId("tests"), columns, rows, "No two runs of different settings answered the same held-out rows.");
}

function twoRuns() {
  const first = Number(byId("first").value), second = Number(byId("second").value);
  const columns = [{ label: "key", value: (row) => row[0] }, { label: "first run", value: (row) => row[1] }, { label: "second run", value: (row) => row[2] }];
  const rows = Object.entries(data.differing).map(([key, values]) => [key, values[first], values[second]]).filter((row) => row[1] !== row[2]);
  table(byId("diff"), columns, rows, first === second ? "This is one run; choose two." : "No setting differs.");
  const pair = data.pairs.find((each) => [each.first, each.second].sort().join() === [first, second].sort().join());
  byId("pair-test").textContent = pair ? pairConclusion(pair) : "These two answered no held-out row in common.";
  const shared = data.questions.map((question, place) => [question, place]).filter(([question]) => question.answers[first] && question.answers[second]);
  const alike = ([question]) => question.answers[first].score === question.answers[second].score;
  shared.sort((a, b) => alike(a) - alike(b)); // where they differ, first
  fillSelect(byId("question"), shared.map(([question, place]) => [place, shortened(question.question, 90)]));
  answers();
}

function pairConclusion(pair) {
  return `On ${pair.rows} rows that both answered, ${jobs[pair.first].run} is better on ${pair.first_better} and ` +
    `${jobs[pair.second].run} on ${pair.second_better}: p = ${p(pair.p)}, after Holm's correction ${p(pair.p_holm)}. ` +
    "This is about these two trained models, not about their settings.";
}

function answers() {
  const question = data.questions[Number(byId("question").value)];
  const none = byId("question").value === "";
  byId("asked").textContent = none ? "Nothing to show: no question here was answered by both." :
    [question.question, ...question.options.map((option, i) => `${String.fromCharCode(65 + i)}) ${option}`), `Gold answer: ${question.answer}`].join("\n");
  byId("answers").replaceChildren(...(none ? [] : ["first", "second"].map((id) => {
    const job = Number(byId(id).value), answer = question.answers[job];
    const read = answer.predicted === null ? "unparsed" : `read as ${answer.predicted}`;
    const score = known(answer.score) ? `, score ${number(answer.score, 2)}` : "";
    return element("div", {}, element("strong", {}, jobs[job].run), ` (${read}${score})`, element("pre", {}, answer.text));
  })));
}

function fillSelect(select, options) {
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
}

fillSelect(byId("colour"), [...keys, "run"].map((key) => [key, key]));
for (const id of ["first", "second"]) {
  fillSelect(byId(id), jobs.map((job, place) => [place, `${job.run} (${number(job.score, job.digits)})`]));
  byId(id).addEventListener("change", twoRuns);
}
byId("second").value = String(Math.min(1, jobs.length - 1));
byId("colour").addEventListener("change", curves);
byId("question").addEventListener("change", answers);
window.addEventListener("resize", parallel);
for (const draw of [ranking, parallel, curves, settings, effective, tests, twoRuns]) draw();

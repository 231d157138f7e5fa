"use strict";
const at = (id) => document.getElementById(id);
const MOST_SHOWN = 5, TOGETHER = 16, TRIES = 20;
let token = "", runs = [], limits = {}, rows = [], columns = [], working = Promise.resolve(), total = 0, done = 0;

function make(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text; // never markup, whatever a class or a file is called
  return made;
}

function tell(text, wrong = false) {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", wrong);
}

async function call(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  for (let tried = 1; ; tried++) {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Error("the server does not answer");
    }
    if (answer.ok) return answer;
    if (answer.status === 503 && tried < TRIES) {
      await new Promise((wake) => setTimeout(wake, 1000 * (Number(answer.headers.get("Retry-After")) || 1)));
      continue;
    }
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(told.error || `status ${answer.status}`), { status: answer.status });
  }
}

async function enter() {
  let told;
  try {
    told = await (await call("runs")).json();
  } catch (error) {
    at("door").hidden = error.status !== 401;
    if (error.status !== 401 || token) tell(error.message, true);
    token = "";
    return;
  }
  ({ runs, limits } = told);
  at("door").hidden = true;
  at("work").hidden = false;
  for (const run of runs) at("run").append(new Option(run.name, run.name));
  at("run-choice").hidden = runs.length < 2;
  tell("");
  choose();
}

const chosen = () => runs.find((run) => run.name === at("run").value);

function choose() {
  const run = chosen();
  const classes = run.classes.length ? ` · ${run.classes.length} classes` : "";
  at("about").textContent = `${run.name}: ${run.task.toLowerCase()} by ${run.method}${classes}. Images stay between this page and the server that it came from.`;
  at("sets-choice").hidden = !run.sets;
  at("maps-choice").hidden = !run.able.explain;
  at("question-choice").hidden = !run.able.ask;
}

function* parcels(files) {
  let some = [], size = 0;
  for (const file of files) {
    const full = some.length === Math.min(TOGETHER, limits.max_files) || size + file.size > 0.9e6 * limits.max_body_mb;
    if (some.length && full) {
      yield some;
      [some, size] = [[], 0];
    }
    some.push(file);
    size += file.size;
  }
  if (some.length) yield some;
}

function form(files, fields = {}) {
  const made = new FormData();
  for (const file of files) made.append("files", file, file.name);
  for (const [name, value] of Object.entries(fields)) made.append(name, value);
  return { method: "POST", body: made };
}

async function label(run, files, coverage) {
  const asked = new URLSearchParams({ run: run.name, format: "table" });
  if (run.sets && coverage) asked.set("coverage", coverage);
  return (await call(`predict?${asked}`, form(files))).json();
}

async function answer(run, files, question) {
  const told = await (await call(`ask?${new URLSearchParams({ run: run.name })}`, form(files, { question }))).json();
  return { rows: told.answers, columns: ["path", "question", "answer", "error"], notes: [] };
}

async function ask(run, files, how) {
  try {
    return how.question ? await answer(run, files, how.question) : await label(run, files, how.coverage);
  } catch (error) {
    if (files.length === 1 || ![413, 422].includes(error.status)) {
      const failed = files.map((file) => ({ path: file.name, error: error.message }));
      return { rows: failed, columns: ["path", "error"], notes: [] };
    }
  }
  const each = []; // none of them was read: each has a reason of its own
  for (const file of files) each.push(await ask(run, [file], how));
  return { rows: each.flatMap((one) => one.rows), columns: each[0].columns, notes: [] };
}

async function take(files) {
  const run = chosen();
  const how = { coverage: at("coverage").value, question: run.able.ask ? at("question").value.trim() : "" };
  if (!how.question && !run.able.predict) return tell("write a question first", true);
  total += files.length;
  at("results").hidden = false;
  for (const parcel of parcels(files)) {
    progress();
    const told = await ask(run, parcel, how);
    columns.push(...told.columns.filter((name) => !columns.includes(name)));
    told.rows.forEach((row, place) => show(run, parcel[place], row));
    rows.push(...told.rows);
    done += parcel.length;
    progress(told.notes);
  }
}

function progress(notes = []) {
  at("count").textContent = `${done} of ${total} ${total === 1 ? "image" : "images"}`;
  tell(done < total ? `${total - done} to go …` : notes.join(" "));
}

function show(run, file, row) {
  const card = make("article", row.error ? "card wrong" : "card");
  const views = make("div", "views");
  views.append(preview(file));
  card.append(views);
  if (row.error) {
    card.append(make("p", "error", `✕ ${row.error}`));
  } else {
    card.append(make("p", "label", row.label ?? row.answer ?? row.caption ?? ""));
    if (row.known === "no") card.append(make("span", "unknown", "? unknown: unlike the training images"));
    if (row.set) card.append(make("p", "set", `one of: ${row.set.split("|").join(", ")}`));
    card.append(shares(row));
    if (run.able.explain) explain(run, file, views, card);
  }
  card.append(make("p", "name", row.path));
  at("cards").append(card);
}

function preview(file) {
  const image = make("img");
  image.alt = file.name;
  image.loading = "lazy";
  image.src = URL.createObjectURL(file);
  image.onerror = () => image.replaceWith(make("div", "none", "this browser shows no preview of it"));
  return image;
}

function shares(row) {
  const list = make("dl", "shares");
  const all = Object.entries(row).filter(([name]) => name.startsWith("p(")).sort((one, other) => other[1] - one[1]);
  for (const [name, share] of all.slice(0, MOST_SHOWN)) {
    const track = make("div", "track"), fill = make("div", "fill");
    fill.style.width = `${100 * share}%`;
    track.append(fill);
    const term = make("dt", "", name.slice(2, -1));
    term.title = name.slice(2, -1);
    const bar = make("dd");
    bar.append(track);
    list.append(term, bar, make("dd", "", `${(100 * share).toFixed(1)} %`));
  }
  return list;
}

function explain(run, file, views, card) {
  const button = make("button", "", "Where it looks");
  button.type = "button";
  button.onclick = async () => {
    button.disabled = true;
    try {
      const asked = new URLSearchParams({ run: run.name, view: "map" });
      const found = await (await call(`explain?${asked}`, form([file]))).blob();
      const map = make("img");
      map.alt = `what counts in ${file.name}: yellow most, dark blue nothing`;
      map.src = URL.createObjectURL(found);
      views.append(map);
      button.remove();
    } catch (error) {
      button.replaceWith(make("p", "error", error.message));
    }
  };
  card.append(button);
  if (at("maps").checked) working = working.then(() => button.onclick());
}

function save(name, kind, text) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function cell(value) {
  if (typeof value === "number") return String(value);
  let text = value ?? "";
  // As the program writes CSV: what a spreadsheet would run as a formula gets an apostrophe.
  if (/^'*[=+\-\\@\t\r\n＝＋－＠]/.test(text) && !/^[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv() {
  const last = columns.filter((name) => name !== "error").concat("error");
  return [last, ...rows.map((row) => last.map((name) => row[name]))].map((line) => line.map(cell).join(",") + "\r\n").join("");
}

const begin = (files) => {
  const some = [...files];
  if (some.length) working = working.then(() => take(some)).catch((error) => tell(error.message, true));
};
const drop = at("drop");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (runs.length) begin(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => { if (runs.length) begin(event.clipboardData.files); });
at("files").addEventListener("change", () => { begin(at("files").files); at("files").value = ""; });
at("run").addEventListener("change", choose);
at("door").addEventListener("submit", (event) => { event.preventDefault(); token = at("token").value; enter(); });
at("csv").addEventListener("click", () => save("labels.csv", "text/csv", csv()));
at("json").addEventListener("click", () => save("labels.json", "application/json", JSON.stringify(rows, null, 1)));
at("clear").addEventListener("click", () => {
  for (const image of at("cards").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  at("cards").replaceChildren();
  [rows, columns, total, done] = [[], [], 0, 0];
  at("results").hidden = true;
  tell("");
});
enter();

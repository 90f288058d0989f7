// Keeps a page up to date that is complete without it. Whatever comes from the server is set as
// text, but for fragments, which the server has escaped.
"use strict";

const byId = (id) => document.getElementById(id);

// The figures, every few seconds while somebody looks.
const vitals = byId("vitals");
if (vitals) {
  setInterval(async () => {
    if (document.hidden || vitals.contains(document.activeElement)) return;
    try {
      const answer = await fetch(vitals.dataset.refresh, { redirect: "error" });
      if (answer.ok) vitals.innerHTML = await answer.text();
    } catch {
      // The state of the stream below says that nobody answers.
    }
  }, 5000);
}

// The last events, as they come.
const TONES = {
  good: ["completed", "delivered", "read", "received"],
  bad: ["failed", "undelivered", "transcription-error"],
  odd: ["busy", "no-answer", "canceled", "absent"],
};
const toneOf = (status) => Object.keys(TONES).find((tone) => TONES[tone].includes(status)) ?? "plain";

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
};

const rowOf = (event) => {
  const row = element("tr", "new");
  const names = ["at", "kind-of", "now", "which", "why", "notes"];
  const cells = names.map((name) => row.appendChild(element("td", name)));
  const time = element("time", "", event.at.slice(11, 19));
  time.dateTime = time.title = event.at;
  cells[0].append(time);
  cells[1].append(event.kind.replace("_", " "));
  if (event.status) cells[2].append(element("span", `status ${toneOf(event.status)}`, event.status));
  const text = event.sid ?? event.key;
  const sid = element(event.sid ? "a" : "span", "sid");
  sid.title = text;
  if (text.length > 5) sid.append(element("span", "start", text.slice(0, -5)));
  sid.append(text.slice(-5));
  if (event.sid) sid.href = `/sid/${encodeURIComponent(event.sid)}`;
  cells[3].append(sid);
  if (event.error_code) cells[4].append(element("span", "code", event.error_code));
  if (event.duplicate) cells[5].append(element("span", "tag", "duplicate"));
  return row;
};

const rows = byId("live");
if (rows) {
  const table = rows.closest("table");
  const most = Number(table.dataset.rows);
  const pause = byId("pause");
  const state = byId("live-state");
  let paused = false;
  const waiting = [];

  const show = () => {
    if (paused || waiting.length === 0) return;
    byId("nothing").hidden = true;
    for (const event of waiting.splice(0)) rows.prepend(rowOf(event));
    while (rows.rows.length > most) rows.deleteRow(-1);
  };
  // At most twice a second, however much comes.
  setInterval(show, 500);

  // From behind what the page already shows.
  const stream = new EventSource(`${table.dataset.live}?last=${table.dataset.last}`);
  stream.onopen = () => { state.textContent = ""; };
  stream.onerror = () => {
    const ended = stream.readyState === EventSource.CLOSED;
    state.textContent = ended
      ? "No more events arrive. Reload the page."
      : "The server does not answer. Trying again.";
  };
  stream.onmessage = (message) => {
    waiting.push(JSON.parse(message.data));
    if (waiting.length > most) waiting.shift();
  };
  pause.hidden = false;
  pause.onclick = () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    show();
  };
}

// A link that led to the login leads to its section afterwards.
const next = document.querySelector(".login input[name=next]");
if (next) next.value += location.hash;

// All on this page.
const all = byId("all");
if (all) {
  all.closest("label").hidden = false;
  all.onchange = () => {
    for (const box of document.querySelectorAll("input[name=ids]")) box.checked = all.checked;
  };
}

// What the page does beyond its HTML: it refreshes itself, shows local times, and moves between windows by arrow keys.
"use strict";

const REFRESH_MS = 15000;
const STALE = "This page cannot be refreshed at the moment. It shows what was read before; look whether the service runs.";

function showTimes() {
  const isLocal = localStorage.getItem("clock") === "local";
  const format = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});
  for (const each of document.querySelectorAll("time")) {
    each.dataset.utc ??= each.textContent;
    each.textContent = isLocal ? format.format(new Date(each.dateTime)) : each.dataset.utc;
    each.title = isLocal ? each.dataset.utc : "";
  }
  const button = document.querySelector(".clock");
  button.textContent = isLocal ? "Show UTC" : "Show local time";
}

function addClock() {
  const button = document.createElement("button");
  button.className = "clock";
  button.type = "button";
  button.addEventListener("click", () => {
    localStorage.setItem("clock", localStorage.getItem("clock") === "local" ? "utc" : "local");
    showTimes();
  });
  document.querySelector(".top").append(button);
}

function markStale(isStale) {
  const note = document.getElementById("stale");
  if (!isStale) note?.remove();
  else if (!note) document.querySelector("main").insertAdjacentHTML("beforebegin", `<p id="stale" class="note" role="alert">${STALE}</p>`);
}

let latest = "";

async function refresh() {
  const main = document.querySelector("main");
  const active = document.activeElement;
  // Nothing changes under the hands of a person who types, chooses or marks text.
  if (document.hidden || active.closest("form") || String(document.getSelection())) return;
  const response = await fetch(location.href, {cache: "no-cache"}).catch(() => null);
  markStale(response === null || response.status >= 500);
  if (!response?.ok) return;
  const text = await response.text();
  if (text === latest) return;
  latest = text;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const open = [...main.querySelectorAll("details[open]")].map((each) => each.id);
  // Several links lead to one window, so the place among them counts.
  const nameOf = (each) => each.getAttribute("href") ?? each.getAttribute("aria-label") ?? each.textContent;
  const alike = () => [...main.querySelectorAll("a, summary, .scroll")].filter((each) => nameOf(each) === focused);
  const focused = nameOf(active);
  const place = alike().indexOf(active);
  main.innerHTML = fresh.querySelector("main").innerHTML;
  document.title = fresh.title;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (place >= 0) alike()[place]?.focus({preventScroll: true});
  showTimes();
}

document.addEventListener("keydown", (event) => {
  const rel = {ArrowLeft: "prev", ArrowRight: "next"}[event.key];
  if (!rel || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, .scroll")) return;
  const area = event.target.closest(".chart a");
  if (area) {
    // Tab reaches the chosen window of a chart, the arrows reach the others, and Enter opens one.
    const other = rel === "prev" ? area.previousElementSibling : area.nextElementSibling;
    if (other?.matches("a")) other.focus();
    return;
  }
  document.querySelector(`a[rel="${rel}"]`)?.click();
});

addClock();
showTimes();
setInterval(refresh, REFRESH_MS);

// What the page does beyond its HTML: it refreshes itself, shows local times, and moves between windows by arrow keys.
"use strict";

const REFRESH_MS = 15000;

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

async function refresh() {
  const main = document.querySelector("main");
  const active = document.activeElement;
  // Nothing changes under the hands of a person who types, chooses or marks text.
  if (document.hidden || active.closest("form") || String(document.getSelection())) return;
  const response = await fetch(location.href, {cache: "no-cache"}).catch(() => null);
  if (!response || !response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const open = [...main.querySelectorAll("details[open]")].map((each) => each.id);
  const focused = active.getAttribute("href");
  main.innerHTML = fresh.querySelector("main").innerHTML;
  document.title = fresh.title;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
  showTimes();
}

document.addEventListener("keydown", (event) => {
  const rel = {ArrowLeft: "prev", ArrowRight: "next"}[event.key];
  if (!rel || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, select, .scroll")) return;
  document.querySelector(`a[rel="${rel}"]`)?.click();
});

addClock();
showTimes();
setInterval(refresh, REFRESH_MS);

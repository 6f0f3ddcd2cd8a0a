// What the page does beyond its HTML: it refreshes itself, shows local times, and moves between windows by arrow keys.
"use strict";

const REFRESH_MS = 15000;
// Longer than the service waits for Kafka.
const TIMEOUT_MS = 60000;
const STALE = "This page cannot be refreshed at the moment. It shows what was read before; check whether the service runs.";

const MOMENT = /\b(\d{1,2}) ([A-Z][a-z]{2} \d{4}), (\d{2}:\d{2}(:\d{2})?) UTC/g;

const clock = document.createElement("button");
let isLocal = false;
try {
  isLocal = localStorage.getItem("clock") === "local";
} catch {
  // The browser blocks storage: the choice holds until the page is left.
}

// The texts with times, as they are in UTC.
const written = new WeakMap();

function show(node, local) {
  if (!written.has(node)) written.set(node, node.textContent);
  node.textContent = isLocal ? local(written.get(node)) : written.get(node);
}

function showTimes() {
  const [short, exact] = ["short", "medium"].map((timeStyle) => new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle}));
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    if (!texts.currentNode.data.match(MOMENT) && !written.has(texts.currentNode)) continue;
    show(texts.currentNode, (utc) => utc.replace(MOMENT, (all, day, monthAndYear, time, seconds) => {
      const moment = new Date(`${day} ${monthAndYear} ${time} UTC`);
      // A name may look like a time, such as 31 Feb.
      return moment.getUTCDate() === Number(day) ? (seconds ? exact : short).format(moment) : all;
    }));
  }
  const dayFormat = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short"});
  const hourFormat = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
  for (const axis of document.querySelectorAll(".chart svg")) {
    let before = "";
    for (const tick of axis.querySelectorAll(".when")) {
      const [day, hour] = [dayFormat, hourFormat].map((each) => each.format(Number(tick.dataset.ms)));
      const isMidnight = hour === "00:00";
      show(tick.firstElementChild, () => isMidnight ? day : hour);
      show(tick.lastElementChild, () => isMidnight || day === before ? "" : day);
      before = day;
    }
  }
  clock.textContent = isLocal ? "Show UTC" : "Show local time";
}

function addClock() {
  clock.className = "clock";
  clock.type = "button";
  clock.addEventListener("click", () => {
    isLocal = !isLocal;
    try {
      localStorage.setItem("clock", isLocal ? "local" : "utc");
    } catch {
      // As above.
    }
    showTimes();
  });
  document.querySelector(".top").append(clock);
}

function markStale(isStale) {
  const note = document.getElementById("stale");
  if (!isStale) note?.remove();
  else if (!note) document.querySelector("main").insertAdjacentHTML("beforebegin", `<p id="stale" class="note" role="alert">${STALE}</p>`);
}

// Nothing changes under the hands of a person who types, chooses or marks text.
function isUsed() {
  return document.hidden || document.activeElement.closest("form") || String(document.getSelection());
}

async function load() {
  try {
    const response = await fetch(location.href, {cache: "no-cache", signal: AbortSignal.timeout(TIMEOUT_MS)});
    return {ok: response.ok, status: response.status, text: await response.text()};
  } catch {
    return null;
  }
}

function replace(fresh) {
  const active = document.activeElement;
  // Several links lead to one window, so the chart or table and the place in it count; charts and the range may
  // change meanwhile. Links that change the range are known by their texts.
  const placeOf = (each) => each.closest("figure, details")?.querySelector("b, summary")?.textContent ?? "";
  const nameOf = (each) => placeOf(each) + ((each.closest(".tools") ? null : each.getAttribute("href")?.replace(/&(from|until)=[^&#]+/g, "")) ?? each.getAttribute("aria-label") ?? each.textContent);
  const focused = nameOf(active);
  const alike = () => [...document.querySelectorAll("a, summary, button, .scroll")].filter((each) => nameOf(each) === focused);
  const place = alike().indexOf(active);
  const open = [...document.querySelectorAll("details[open]")].map((each) => each.id);
  const top = scrollY;
  const regions = () => [...document.querySelectorAll(".scroll")];
  const scrolled = new Map(regions().map((each) => [each.ariaLabel, each.scrollLeft]));
  for (const part of [".top", "main", "footer"]) {
    document.querySelector(part).replaceChildren(...fresh.querySelector(part).childNodes);
  }
  document.querySelector(".top").append(clock);
  document.title = fresh.title;
  showTimes();
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  for (const each of regions()) each.scrollLeft = scrolled.get(each.ariaLabel) ?? 0;
  scrollTo({top, behavior: "instant"});
  if (place >= 0) alike()[place]?.focus({preventScroll: true});
}

let latest = "";
let isLoading = false;

async function refresh() {
  if (isLoading || isUsed()) return;
  isLoading = true;
  const answer = await load();
  isLoading = false;
  markStale(answer === null || answer.status >= 500);
  if (!answer?.ok || answer.text === latest || isUsed()) return;
  latest = answer.text;
  replace(new DOMParser().parseFromString(answer.text, "text/html"));
}

// A window or range opens without a jump: the page is replaced in place, and the address follows.
document.addEventListener("click", (event) => {
  const link = event.target.closest("main a[href^='?stream=']");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.getAttribute("href"), location.href);
  if (to.searchParams.get("stream") !== new URLSearchParams(location.search).get("stream")) return;
  event.preventDefault();
  history.pushState(null, "", to);
  openAddress();
});

addEventListener("popstate", () => openAddress());

async function openAddress() {
  const address = location.href, answer = await load();
  if (address !== location.href) return;
  if (!answer?.ok) {
    location.reload();
    return;
  }
  latest = answer.text;
  replace(new DOMParser().parseFromString(answer.text, "text/html"));
}

// What a window says stands in the chart's heading while the pointer or the focus is on it.
for (const type of ["pointerover", "focusin"]) {
  document.addEventListener(type, (event) => {
    const title = event.target.closest?.(".chart a, .chart .hit")?.querySelector("title");
    if (title) title.closest("figure").querySelector("output").textContent = title.textContent;
  });
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

// The page: it follows /live, and puts the news where they belong.
import * as attention from "./attention.js";
import * as day from "./day.js";
import * as map from "./map.js";
import { language, number, rate, say, span, speak } from "./words.js";

const STATES = ["leased", "cooling", "quarantined", "withheld", "free"];
const MAP_EVERY = 2000, SILENT = 15_000;
const find = (id) => document.getElementById(id);
const cards = new Map();
let state = null, held = null, lost = false, heardAt = performance.now();

function put(element, text) { if (element.textContent !== text) element.textContent = text; }
function part(name, type = "", text = "") {
  const made = document.createElement(name);
  if (type) made.className = type;
  if (text) made.textContent = text;
  return made;
}

function texts() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const one of document.querySelectorAll("[data-text]")) put(one, say(one.dataset.text));
  const button = find("language"), other = language === "zh" ? "en" : "zh";
  put(button, other === "zh" ? "中文" : "English");
  button.lang = other;
  find("key").replaceChildren(...STATES.map((name) => {
    const row = part("li");
    row.append(part("span", `swatch ${name}`), say(name));
    return row;
  }));
  for (const card of cards.values()) card.root.remove();
  cards.clear();
}

function makeCard(wan) {
  const card = { root: part("article", "card wan"), counts: {}, more: {}, bars: {} };
  const head = part("div", "wan-head");
  card.title = part("h3");
  card.badge = part("span", "badge");
  card.button = part("button", "", say("showMap"));
  card.button.type = "button";
  card.button.setAttribute("aria-label", `${say("showMap")}: WAN ${wan}`);
  card.button.addEventListener("click", () => { choose(wan); find("map-title").scrollIntoView({ block: "start" }); });
  head.append(card.title, card.badge, card.button);
  card.bar = part("div", "bar");
  card.bar.setAttribute("role", "img");
  for (const name of STATES) card.bar.append((card.bars[name] = part("span", name)));
  const counts = part("dl", "counts");
  for (const name of ["free", "leased", "cooling", "withheld"]) {
    const box = part("div");
    card.counts[name] = part("dd");
    box.append(part("dt", "", say(name)), card.counts[name]);
    counts.append(box);
  }
  const more = part("dl", "more");
  for (const name of ["rate", "carries", "waiting", "exhaustedIn", "line"]) {
    card.more[name] = part("dd");
    more.append(part("dt", "", say(name)), card.more[name]);
  }
  card.root.append(head, card.bar, counts, more);
  find("wans").append(card.root);
  return card;
}

function lineText(line) {
  if (line.state === "unchecked") return say("lineUnchecked");
  if (line.state === "unknown") return say("lineUnknown");
  const trip = line.round_trip_ms === null ? "" : `, ${number(line.round_trip_ms, 1)} ms`;
  return say(line.state === "up" ? "lineUp" : "lineDown") + trip;
}

function badge(wan) {
  if (wan.line.state === "down") return ["bad", say("lineDown")];
  if (wan.grace_left > 0) return ["warn", `${say("grace")} ${span(wan.grace_left)}`];
  if (wan.state === "draining") return ["warn", say("draining")];
  if (wan.total && wan.free + wan.rested === 0) return ["bad", say("exhausted")];
  return ["", say("open")];
}

function showCard(wan) {
  if (!cards.has(wan.wan_idx)) cards.set(wan.wan_idx, makeCard(wan.wan_idx));
  const card = cards.get(wan.wan_idx), [level, text] = badge(wan);
  put(card.title, `WAN ${wan.wan_idx}${wan.name ? `  ${wan.name}` : ""}`);
  put(card.badge, text);
  card.badge.className = `badge ${level}`;
  card.root.className = `card wan ${level}`;
  const parts = { ...wan, cooling: wan.cooling - wan.quarantined };
  for (const name of STATES) card.bars[name].style.flexGrow = parts[name];
  card.bar.setAttribute("aria-label", STATES.map((name) => `${say(name)} ${number(parts[name])}`).join(", "));
  for (const [name, cell] of Object.entries(card.counts)) put(cell, number(wan[name]));
  const between = rate(wan.between_networks), one = rate(wan.for_one_network);
  put(card.more.rate, rate(wan.pace));
  put(card.more.carries, between === one ? one : say("capacity", { between, one }));
  put(card.more.waiting, number(wan.waiting));
  put(card.more.exhaustedIn, wan.exhausted_in === null ? say("stable") : span(wan.exhausted_in));
  put(card.more.line, lineText(wan.line));
}

function showState() {
  if (!state) return;
  put(find("where"), say("where", state));
  const pulse = find("pulse");
  pulse.classList.toggle("away", lost || Boolean(state.error));
  put(pulse, say(lost ? "gone" : state.error ? "away" : "live"));
  find("wans").classList.toggle("stale", lost || Boolean(state.error));
  if (state.wans) {
    const known = new Set(state.wans.map((wan) => wan.wan_idx));
    for (const [wan, card] of cards) if (!known.has(wan)) { card.root.remove(); cards.delete(wan); }
    find("wans").classList.toggle("many", state.wans.length > 16);
    for (const wan of state.wans) showCard(wan);
    day.options(find("map-wan"), state.wans.map((wan) => [wan.wan_idx, `${wan.wan_idx}${wan.name ? ` ${wan.name}` : ""}`]));
    if (state.wans.length && !known.has(Number(find("map-wan").dataset.chosen ?? -1))) choose(state.wans[0].wan_idx);
  }
  attention.show(state, held, lost);
}

function choose(wan) {
  const select = find("map-wan");
  select.value = wan;
  select.dataset.chosen = wan;
  for (const [index, card] of cards) card.button.setAttribute("aria-pressed", String(index === wan));
  map.show(wan);
}

function showHeld() {
  if (!held) return;
  const names = [say("process"), say("program"), say("network"), say("ports"), say("byWan")];
  day.headings(document.querySelector("#held thead"), names, [3]);
  const filter = find("held-filter").value.toLowerCase();
  const rows = held.rows.map((one) => {
    const sum = Object.values(one.wans).reduce((all, count) => all + count, 0);
    const byWan = Object.entries(one.wans).map(([wan, count]) => `WAN ${wan}: ${number(count)}`).join(", ");
    return [map.process(one.host, one.pid), one.program, one.network, number(sum), byWan];
  }).filter((cells) => cells.join(" ").toLowerCase().includes(filter));
  const types = ["", "", "", "number", ""];
  find("held").tBodies[0].replaceChildren(...rows.map((cells) => day.row(cells.map((text, i) => [names[i], text, types[i]]))));
  if (!rows.length) find("held").tBodies[0].replaceChildren(day.row([["", say(held.rows.length ? "noMatch" : "nobody"), ""]]));
  put(find("held-more"), held.more ? say("moreHolders", { more: number(held.more) }) : "");
}

function all() { texts(); showState(); showHeld(); day.show(); map.draw(); }

find("language").addEventListener("click", () => { speak(language === "zh" ? "en" : "zh"); all(); });
find("map-wan").addEventListener("change", (event) => choose(Number(event.target.value)));
find("held-filter").addEventListener("input", showHeld);

// A browser has six connections to a server at most, for all its pages: one that nobody sees gives its own back.
let live = null;
function hear(kind, use) {
  live.addEventListener(kind, (event) => {
    heardAt = performance.now();
    lost = false;
    use(JSON.parse(event.data));
  });
}

function follow() {
  live?.close();
  live = null;
  if (document.hidden) return;
  heardAt = performance.now();
  live = new EventSource("live");
  hear("state", (news) => { state = news.error && state ? { ...state, ...news } : news; showState(); });
  hear("held", (news) => { held = news; showHeld(); showState(); });
  hear("events", (news) => { day.show(news); showState(); });
  live.addEventListener("error", () => lose(true));
}

function lose(now) {
  if (now === lost) return;
  lost = now;
  if (state) showState();
  else put(find("pulse"), say(lost ? "gone" : "loading"));
}

texts();
put(find("pulse"), say("loading"));
follow();
setInterval(() => map.load(), MAP_EVERY);
setInterval(() => { if (live) lose(performance.now() - heardAt > SILENT); }, 1000);
document.addEventListener("visibilitychange", () => { follow(); map.load(); });

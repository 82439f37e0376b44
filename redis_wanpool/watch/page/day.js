// The timeline: a bar for each half hour of the last day, and the events as a table.
import { clock, has, hour, number, reason, say } from "./words.js";
import { process } from "./map.js";

export const KINDS = {
  rejected: "#c4281c", expired: "#e0662c", reaped: "#d9932b", refused: "#b0408e", grace: "#7a4fc4", revoked: "#5a6b80",
  drained: "#2f7fd0", withheld: "#7d8794", opened: "#2c9a59", restored: "#55b58f", defined: "#4aa3c7", resized: "#93a8bd",
};
const SVG = "http://www.w3.org/2000/svg", HIGH = 130, FOOT = 20;
const day = document.getElementById("day"), key = document.getElementById("day-key");
const head = document.querySelector("#events thead"), body = document.querySelector("#events tbody");
const ofWan = document.getElementById("events-wan"), ofKind = document.getElementById("events-kind");
let data = null;

export const kind = (what) => (has(`event_${what}`) ? say(`event_${what}`) : what);
export const events = () => (data ? data.rows : []);

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function show(news) {
  if (news) data = news;
  if (!data) return;
  chart();
  choices();
  table();
}

function chart() {
  const slot = data.slot_ms, slots = 48, first = data.at_ms - (slots - 1) * slot;
  const wide = Math.max(200, day.clientWidth), each = wide / slots, bars = new Map();
  for (const [ms, what, count] of data.slots) {
    if (!bars.has(ms)) bars.set(ms, []);
    bars.get(ms).push([what, count]);
  }
  const sums = [...bars.values()].map((parts) => parts.reduce((sum, [, count]) => sum + count, 0));
  const most = Math.max(1, ...sums), shapes = [];
  shapes.push(shape("line", { x1: 0, x2: wide, y1: HIGH - FOOT, y2: HIGH - FOOT }));
  for (const [ms, parts] of bars) {
    const x = ((ms - first) / slot) * each, sum = parts.reduce((all, [, count]) => all + count, 0);
    if (x < 0) continue;
    const tall = Math.sqrt(sum / most) * (HIGH - FOOT - 8);
    let y = HIGH - FOOT;
    for (const [what, count] of parts) {
      const high = Math.max(2, (tall * count) / sum);
      y -= high;
      const bar = shape("rect", { x: x + 1, y, width: each - 2, height: high, fill: KINDS[what] ?? "#666" });
      bar.append(shape("title", {}, `${hour(ms)}: ${number(count)} × ${kind(what)}`));
      shapes.push(bar);
    }
  }
  for (let ms = Math.ceil(first / 10_800_000) * 10_800_000; ms <= data.at_ms; ms += wide < 700 ? 21_600_000 : 10_800_000) {
    const x = ((ms - first) / slot) * each;
    if (x > 14 && x < wide - 14) shapes.push(shape("text", { x, y: HIGH - 5, "text-anchor": "middle" }, hour(ms)));
  }
  day.setAttribute("viewBox", `0 0 ${wide} ${HIGH}`);
  const counts = new Map();
  for (const [, what, count] of data.slots) counts.set(what, (counts.get(what) ?? 0) + count);
  const kinds = [...counts].map(([what, count]) => `${kind(what)} ${number(count)}`).join(", ");
  day.setAttribute("aria-label", say("dayLabel", { count: number(data.all), kinds }));
  day.replaceChildren(...shapes);
  key.replaceChildren(...[...counts].map(([what, count]) => {
    const row = document.createElement("li"), dot = document.createElement("span");
    dot.className = "swatch";
    dot.style.background = KINDS[what] ?? "#666";
    row.append(dot, `${kind(what)} ${number(count)}`);
    return row;
  }));
}

export function options(select, rows) {
  const chosen = select.value, made = JSON.stringify(rows);
  if (select.dataset.made === made) return;
  select.dataset.made = made;
  select.replaceChildren(...rows.map(([value, text]) => new Option(text, value, false, String(value) === chosen)));
}

function choices() {
  const wans = [...new Set(data.rows.map((row) => row.wan_idx))].sort((a, b) => a - b);
  const kinds = [...new Set(data.rows.map((row) => row.what))].sort();
  options(ofWan, [["", say("anyWan")], ...wans.map((wan) => [wan, `WAN ${wan}`])]);
  options(ofKind, [["*", say("all")], ...kinds.map((what) => [what, kind(what)])]);
}

export function row(cells) {
  const made = document.createElement("tr");
  made.append(...cells.map(([heading, text, type]) => {
    const cell = document.createElement("td");
    cell.dataset.head = heading;
    if (type) cell.className = type;
    cell.textContent = text;
    return cell;
  }));
  return made;
}

export function headings(where, names, numbers = []) {
  const made = document.createElement("tr");
  made.append(...names.map((name, index) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (numbers.includes(index)) cell.className = "number";
    cell.textContent = name;
    return cell;
  }));
  where.replaceChildren(made);
}

export function parties(event) {
  const at = event.holder.lastIndexOf(":"), rest = event.holder.slice(0, at), colon = rest.lastIndexOf(":");
  const holder = event.holder ? process(rest.slice(0, colon), Number(rest.slice(colon + 1))) : "";
  return [event.who, holder, event.label && `“${event.label}”`, event.network].filter(Boolean).join(", ");
}

function ranges(ports) {
  const found = [];
  for (const port of [...ports].sort((a, b) => a - b)) {
    if (found.length && port === found.at(-1)[1] + 1) found.at(-1)[1] = port;
    else found.push([port, port]);
  }
  return found.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(", ");
}

function table() {
  const names = [say("time"), say("wan"), say("what"), say("which"), say("who"), say("why")];
  headings(head, names);
  const wanted = data.rows.filter((event) =>
    (ofWan.value === "" || String(event.wan_idx) === ofWan.value) && (ofKind.value === "*" || event.what === ofKind.value));
  body.replaceChildren(...wanted.map((event) => {
    const which = ranges(event.ports) + (event.count > event.ports.length && event.ports.length ? ` … (${number(event.count)})` : "");
    const cells = [clock(event.at_ms, true), String(event.wan_idx), kind(event.what),
      which || (event.count > 1 ? `× ${number(event.count)}` : ""), parties(event), reason(event.why)];
    const made = row(cells.map((text, index) => [names[index], text, index < 3 ? "short" : ""]));
    const dot = document.createElement("span");
    dot.className = "dot";
    dot.style.background = KINDS[event.what] ?? "#666";
    made.children[2].prepend(dot);
    return made;
  }));
  if (!wanted.length) body.replaceChildren(row([["", say("nothing"), ""]]));
}
ofWan.addEventListener("change", table);
ofKind.addEventListener("change", table);
new ResizeObserver(() => data && chart()).observe(day.parentElement);

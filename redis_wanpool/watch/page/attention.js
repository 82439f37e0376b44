// What is the matter, since when, with whom, and what to do: the first thing that a person on call reads.
import { events, parties } from "./day.js";
import { process } from "./map.js";
import { clock, number, reason, say, span } from "./words.js";

const LOW = 0.1, SOON = 1800, HOUR = 3_600_000;
const list = document.getElementById("attention");
let shown = "";

export function show(state, held, lost) {
  const found = lost ? [["bad", say("connectionGone"), "wanpool web"]] : [];
  if (state.error) found.push(["bad", say("redisAway", { span: span(state.error_for) }), "wanpool doctor", state.error]);
  for (const trouble of state.troubles ?? []) {
    found.push(["bad", say("wanTrouble", { wan: trouble.wan_idx, error: trouble.error }), "wanpool doctor"]);
  }
  if (!state.error && state.wans) {
    for (const wan of state.wans) found.push(...ofWan(wan, state, held));
    if (!state.wans.length && !state.troubles.length) found.push(["warn", say("noWan"), "wanpool init --fresh --wan 0=20000-21999"]);
    if (!found.length) found.push(["good", say("allWell")]);
  }
  found.sort((a, b) => (a[0] === "bad" ? 0 : 1) - (b[0] === "bad" ? 0 : 1));
  const now = JSON.stringify(found);
  if (now === shown) return;  // a screen reader says only what is new
  shown = now;
  list.replaceChildren(...found.map(item));
}

function item([level, text, command, more]) {
  const made = document.createElement("li");
  made.className = level;
  made.textContent = text;
  if (command || more) {
    const doing = document.createElement("span");
    doing.className = "do";
    if (more) doing.append(`${more} `);
    if (command) {
      const code = document.createElement("code");
      code.textContent = command;
      doing.append(`${say("doThis")} `, code);
    }
    made.append(doing);
  }
  return made;
}

export function* ofWan(seen, state, held) {
  const wan = seen.wan_idx, line = seen.line;
  const mine = events().filter((event) => event.wan_idx === wan);
  const lately = (what) => mine.filter((event) => event.what === what && event.at_ms > state.at_ms - HOUR);
  const sum = (some) => some.reduce((all, event) => all + event.count, 0);
  if (seen.grace_left > 0) yield ["warn", say("wanGrace", { wan, span: span(seen.grace_left) }), say("doWait")];
  if (seen.state === "draining") {
    const by = mine.find((event) => event.what === "drained");
    const who = by ? say("byWhom", { who: by.who || "?", time: clock(by.at_ms, true) }) : "";
    yield ["warn", say("wanDraining", { wan, who }), `wanpool open ${wan}`];
  }
  if (line.state === "down") {
    const since = clock(Date.parse(line.since), true);
    yield ["bad", say("wanDown", { wan, since, why: line.why }), "wanpool health --once --target HOST:PORT"];
  }
  if (line.state === "unknown") {
    yield ["warn", say("wanUnchecked", { wan, checker: line.checker, span: span(line.age) }), "wanpool health --target HOST:PORT"];
  }
  if (seen.total && seen.free + seen.rested === 0) {
    const rows = (held?.rows ?? []).filter((row) => row.wans[wan]).sort((a, b) => b.wans[wan] - a.wans[wan]);
    const [holder, count] = rows.length ? [process(rows[0].host, rows[0].pid), rows[0].wans[wan]] : [say("nobodyHolds"), 0];
    yield ["bad", say("wanEmpty", { wan, waiting: seen.waiting, holder, count: number(count) }), `wanpool leases --wan ${wan}`];
  } else if (seen.exhausted_in !== null && seen.exhausted_in < SOON) {
    yield ["warn", say("wanSoon", { wan, span: span(seen.exhausted_in) }), `wanpool leases --wan ${wan}`];
  } else if (seen.free < LOW * seen.total) {
    yield ["warn", say("wanLow", { wan, free: number(seen.free), total: number(seen.total) }), `wanpool leases --wan ${wan}`];
  }
  if (seen.quarantined) {
    const last = mine.find((event) => event.what === "rejected");
    const where = last ? say("onHost", { host: last.host || "?", why: last.why || "?" }) : "";
    const port = last?.ports[0];
    yield ["warn", say("wanQuarantine", { wan, count: number(seen.quarantined), where }), port ? `wanpool explain ${port}` : "wanpool doctor"];
  }
  const expired = lately("expired");
  if (expired.length) {
    yield ["warn", say("expiredLately", { wan, count: number(sum(expired)), holder: parties(expired[0]) || "?" }), `wanpool events --wan ${wan} --since 1h`];
  }
  const refused = lately("refused");
  if (refused.length) {
    const last = refused[0];
    yield ["warn", say("refusedLately", { wan, holder: parties(last) || "?", why: reason(last.why) || "?" }), `wanpool events --wan ${wan} --since 1h`];
  }
  if (seen.graces > 1) yield ["warn", say("gracesLately", { wan, count: number(seen.graces) }), "wanpool doctor"];
}

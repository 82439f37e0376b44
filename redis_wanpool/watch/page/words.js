// What the page says: a text for each key, in English and in Chinese. {name} is replaced.
export const WORDS = {
  en: {
    skip: "To the content", attention: "What needs attention", wans: "WANs", map: "Map of the ports", held: "Who holds what",
    day: "The last 24 hours", wan: "WAN", port: "Port", filter: "Filter", kind: "What", all: "all", anyWan: "all WANs",
    language: "Show the page in English", live: "live", away: "Redis does not answer", gone: "the connection to wanpool web is lost",
    where: "namespace {namespace} at {url}", loading: "reading Redis",
    mapHelp: "One cell is one port. Point at a cell, or move with the arrow keys; Enter reads it again.",
    mapLabel: "Ports of WAN {wan}: {free} free, {leased} leased, {cooling} cooling, {quarantined} in quarantine, {withheld} withheld",
    free: "free", leased: "leased", cooling: "cooling", quarantined: "in quarantine", withheld: "withheld", total: "ports",
    open: "open", draining: "draining", grace: "grace", unreadable: "unreadable", exhausted: "no free port",
    rate: "leases a second", carries: "the ports carry", capacity: "{between} to {one}", noLimit: "any number",
    waiting: "waiting", exhaustedIn: "used up in", line: "line", lineUp: "up", lineDown: "down", lineUnknown: "nobody checks",
    lineUnchecked: "not checked", showMap: "Map", stable: "not in sight",
    process: "Process", program: "Program", network: "Network", ports: "Ports", byWan: "In WANs", label: "Label",
    moreHolders: "and {more} more: wanpool status --json", nobody: "No port is leased.", noMatch: "Nothing fits the filter.", nothing: "Nothing is noted.",
    time: "Time", what: "What", which: "Ports", who: "Who", why: "Why", detached: "{host} (detached)",
    dayLabel: "{count} events in the last 24 hours: {kinds}",
    allWell: "All WANs are open, and have free ports.", noWan: "No WAN is defined.",
    doThis: "To do:", redisAway: "Redis does not answer, for {span}. Leases that live go on until they expire; nothing new is granted.",
    connectionGone: "This page gets no news. What it shows is old.",
    wanTrouble: "WAN {wan} cannot be read: {error}", wanGrace: "WAN {wan} is in grace: nothing new is granted for {span}, because Redis was restarted or failed over.",
    doWait: "wait; holders keep their ports meanwhile", wanDraining: "WAN {wan} grants nothing new: it was drained{who}.",
    byWhom: " by {who} at {time}", wanEmpty: "WAN {wan} has no free port. Waiting: {waiting}. {holder} holds most: {count}.",
    wanLow: "WAN {wan}: {free} of {total} ports are free.", wanSoon: "WAN {wan} will have no free port in {span}, if it goes on like this.",
    wanDown: "The line of WAN {wan} is down since {since}: {why}.", wanUnchecked: "Nobody checks the line of WAN {wan} any more; {checker} did, {span} ago.",
    wanQuarantine: "WAN {wan}: a system refused ports; now in quarantine: {count}{where}.", onHost: "; last on {host}: {why}",
    expiredLately: "WAN {wan}: leases that expired in the last hour: {count}. The last was of {holder}, which hung, or died.",
    refusedLately: "WAN {wan}: calls got no port in the last hour. The last was of {holder}: {why}.",
    gracesLately: "WAN {wan}: graces that began in the last hour: {count}. Redis fails over, or restarts, again and again.",
    nobodyHolds: "nobody", heldBy: "held by {who}, network {network}", hadBy: "last held by {who}, network {network}; it ended: {ended}",
    labelled: "label “{label}”", endsIn: "ends in {span} unless it is renewed", freeIn: "free to all in {span}", becomes: "then {state}",
    never: "never leased", event_defined: "defined", event_resized: "resized", event_drained: "drained", event_opened: "opened",
    event_withheld: "withheld", event_restored: "restored", event_revoked: "revoked", event_reaped: "reaped", event_rejected: "rejected",
    event_expired: "expired", event_grace: "grace", event_refused: "refused", event_: "unreadable",
    ended_released: "released", ended_drained: "closed by the server first", ended_reset: "reset", ended_time_wait: "closed here first",
    ended_unused: "not used", ended_rejected: "refused by the system", ended_revoked: "revoked", ended_reaped: "its process died",
    ended_expired: "expired", why_exhausted: "no free port", why_draining: "the WAN is drained", why_grace: "the WAN is in grace",
    why_capped: "its network has as many ports as it may", why_rejecting: "its system refused too many ports",
    why_unavailable: "the wanted port is taken", why_dead: "its process is dead", why_fresh: "as a fresh WAN",
  },
  zh: {
    skip: "跳到内容", attention: "需要关注", wans: "WAN 线路", map: "端口分布图", held: "谁在使用",
    day: "最近 24 小时", wan: "WAN", port: "端口", filter: "筛选", kind: "类型", all: "全部", anyWan: "全部 WAN",
    language: "显示中文页面", live: "实时", away: "Redis 没有应答", gone: "与 wanpool web 的连接已断开",
    where: "命名空间 {namespace}，位于 {url}", loading: "正在读取 Redis",
    mapHelp: "每格代表一个端口。用鼠标指向或用方向键移动查看，按 Enter 重新读取。",
    mapLabel: "WAN {wan} 的端口：空闲 {free}，已租出 {leased}，冷却中 {cooling}，隔离 {quarantined}，已停用 {withheld}",
    free: "空闲", leased: "已租出", cooling: "冷却中", quarantined: "隔离", withheld: "已停用", total: "端口总数",
    open: "开放", draining: "排空中", grace: "宽限期", unreadable: "无法读取", exhausted: "没有空闲端口",
    rate: "每秒租约", carries: "端口可承载", capacity: "{between} 至 {one}", noLimit: "不限",
    waiting: "等待", exhaustedIn: "预计用完", line: "线路", lineUp: "正常", lineDown: "中断", lineUnknown: "已无人检查",
    lineUnchecked: "未检查", showMap: "分布图", stable: "暂无迹象",
    process: "进程", program: "程序", network: "网络", ports: "端口数", byWan: "各 WAN", label: "标签",
    moreHolders: "另有 {more} 个：wanpool status --json", nobody: "没有端口被租用。", noMatch: "没有符合筛选条件的内容。", nothing: "没有记录。",
    time: "时间", what: "事件", which: "端口", who: "相关方", why: "原因", detached: "{host}（独立）",
    dayLabel: "最近 24 小时共 {count} 条事件：{kinds}",
    allWell: "所有 WAN 均已开放，且有空闲端口。", noWan: "尚未定义 WAN。",
    doThis: "处理：", redisAway: "Redis 已有 {span} 没有应答。现有租约在到期前仍有效，但不会分配新端口。",
    connectionGone: "页面收不到更新，显示的是旧数据。",
    wanTrouble: "WAN {wan} 无法读取：{error}", wanGrace: "WAN {wan} 处于宽限期：Redis 重启或切换过，{span}内不分配新端口。",
    doWait: "等待即可；持有者会保留其端口", wanDraining: "WAN {wan} 不再分配新端口：已排空{who}。",
    byWhom: "（{who}，{time}）", wanEmpty: "WAN {wan} 没有空闲端口，{waiting} 个调用在等待。占用最多的是 {holder}：{count} 个。",
    wanLow: "WAN {wan}：{total} 个端口中仅 {free} 个空闲。", wanSoon: "照此下去，WAN {wan} 的空闲端口将在{span}后用完。",
    wanDown: "WAN {wan} 的线路自 {since} 起中断：{why}。", wanUnchecked: "已无人检查 WAN {wan} 的线路；{checker} 在{span}前检查过。",
    wanQuarantine: "WAN {wan}：{count} 个端口被系统拒绝，正在隔离{where}。", onHost: "；最近一次在 {host}：{why}",
    expiredLately: "WAN {wan}：最近一小时有 {count} 个租约过期，最近一个属于 {holder}。该进程可能卡住或已退出。",
    refusedLately: "WAN {wan}：最近一小时有调用未能分配到端口，最近一次是 {holder}：{why}。",
    gracesLately: "WAN {wan}：最近一小时出现 {count} 次宽限期；Redis 反复切换或重启。",
    nobodyHolds: "无", heldBy: "由 {who} 持有，网络 {network}", hadBy: "上个持有者 {who}，网络 {network}；结束方式：{ended}",
    labelled: "标签“{label}”", endsIn: "若不续租，{span}后到期", freeIn: "{span}后对所有网络可用", becomes: "之后{state}",
    never: "从未租用", event_defined: "已定义", event_resized: "已调整", event_drained: "已排空", event_opened: "已开放",
    event_withheld: "已停用", event_restored: "已恢复", event_revoked: "已收回", event_reaped: "已回收", event_rejected: "被系统拒绝",
    event_expired: "已过期", event_grace: "宽限期", event_refused: "未分配", event_: "无法读取",
    ended_released: "已归还", ended_drained: "对端先关闭", ended_reset: "已重置", ended_time_wait: "本端先关闭",
    ended_unused: "未使用", ended_rejected: "被系统拒绝", ended_revoked: "已收回", ended_reaped: "进程已死亡",
    ended_expired: "已过期", why_exhausted: "没有空闲端口", why_draining: "该 WAN 已排空", why_grace: "该 WAN 处于宽限期",
    why_capped: "该网络已达端口上限", why_rejecting: "该系统拒绝了过多端口",
    why_unavailable: "指定的端口已被占用", why_dead: "其进程已死亡", why_fresh: "作为全新的 WAN",
  },
};

const asked = new URLSearchParams(location.search).get("lang");
let kept = null;
try { kept = localStorage.getItem("wanpool-language"); } catch { /* storage may be switched off */ }
export let language = asked ?? kept ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
if (!(language in WORDS)) language = "en";

export function speak(other) {
  language = other;
  try { localStorage.setItem("wanpool-language", other); } catch { /* then it is for this time */ }
}

export function say(key, fields = {}) {
  const text = WORDS[language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in fields ? String(fields[name]) : whole));
}

export const has = (key) => key in WORDS[language];

// A reason as a script wrote it, in the words of the page where they are known.
export function reason(text) {
  const key = `why_${text === "its process is dead" ? "dead" : text}`;
  return has(key) ? say(key) : text;
}

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");
export const number = (value, digits = 0) => value.toLocaleString(locale(), { maximumFractionDigits: digits });
export function rate(value) {
  if (value === null) return say("noLimit");
  return value < 1 ? value.toLocaleString(locale(), { maximumSignificantDigits: 1 }) : number(value, value < 100 ? 1 : 0);
}

export function span(seconds) {
  const zh = language === "zh";
  const [s, min, h] = zh ? [" 秒", " 分钟", " 小时"] : [" s", " min", " h"];
  if (seconds < 90) return Math.max(0, Math.round(seconds)) + s;
  if (seconds < 5400) return Math.round(seconds / 60) + min;
  return number(seconds / 3600, 1) + h;
}

export function clock(ms, withDay = false) {
  const parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return new Date(ms).toLocaleString(locale(), withDay ? { month: "short", day: "numeric", ...parts } : parts);
}
export const hour = (ms) => new Date(ms).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit", hour12: false });

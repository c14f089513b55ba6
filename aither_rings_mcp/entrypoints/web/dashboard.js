// The dashboard: the REST door's own answers, every few seconds. Texts are put in as text, never as markup.
const EVERY_MS = 3000;
const TOKEN = "aither-rings-token";
const $ = (id) => document.getElementById(id);

class Problem extends Error {
  constructor(status, body) {
    super([body.detail ?? body.title ?? "The server gave no reason", body.next].filter(Boolean).join(" "));
    this.status = status;
  }
}

async function ask(path, body) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, content);
  return content;
}

const when = (moment) => (moment ? new Date(moment).toLocaleString() : "");

function row(cells) {
  const tr = document.createElement("tr");
  for (const cell of cells) tr.append(Object.assign(document.createElement("td"), { textContent: cell ?? "" }));
  return tr;
}

function tone(ring, health) {
  if (ring.active_operation) return "busy";
  if (["stuck", "unknown"].includes(ring.state) || ring.drift || (health && health.state !== "healthy")) return "bad";
  return ring.state === "running" || ring.state === "candidate" ? "good" : "";
}

function card(ring, health) {
  const shown = $("ring").content.cloneNode(true);
  const operation = ring.active_operation;
  shown.querySelector(".name").textContent = ring.name;
  const state = shown.querySelector(".state");
  state.textContent = operation ? `${operation.kind}: ${operation.phase}` : health ? health.state : ring.state;
  state.classList.add(tone(ring, health) || "plain");
  const facts = {
    release: [ring.tag, ring.release].filter(Boolean).join(" "),
    since: when(ring.deployed_at),
    slot: ring.slot,
    services: health && `${health.healthy} of ${health.total} healthy`,
    "back to": ring.rollback_target && `${ring.rollback_target}${ring.rollback_ready ? "" : " (not ready)"}`,
    "asked by": operation?.owner,
    settling: ring.settling_until && `until ${when(ring.settling_until)}`,
    frozen: ring.frozen,
    override: ring.override,
    drift: ring.drift,
    stuck: ring.stuck,
  };
  const list = shown.querySelector("dl");
  for (const [name, value] of Object.entries(facts)) {
    if (!value) continue;
    list.append(Object.assign(document.createElement("dt"), { textContent: name }));
    list.append(Object.assign(document.createElement("dd"), { textContent: value }));
  }
  const bad = shown.querySelector(".unhealthy");
  for (const service of health?.services ?? []) {
    if (service.state === "healthy") continue;
    const text = `${service.name}: ${service.state}${service.reason ? `, ${service.reason}` : ""}`;
    bad.append(Object.assign(document.createElement("li"), { textContent: text }));
  }
  const back = shown.querySelector(".rollback");
  back.hidden = !(ring.kind === "runtime" && ring.rollback_ready && !operation);
  back.addEventListener("click", () => rollBack(ring));
  return shown;
}

async function rollBack(ring) {
  const reason = prompt(`Roll ${ring.name} back to ${ring.rollback_target}? Why:`);
  if (!reason) return;
  await tried(() => ask(`rings/${ring.name}/rollback`, { reason, wait_s: 0 }));
  await refresh();
}

async function tried(work) {
  try {
    const result = await work();
    $("trouble").hidden = true;
    return result;
  } catch (problem) {
    $("trouble").textContent = problem.message;
    $("trouble").hidden = false;
    $("token-form").hidden = problem.status !== 401;
    return null;
  }
}

async function look() {
  const status = await ask("rings");
  const runs = (ring) => ring.kind === "runtime" && ["running", "stuck"].includes(ring.state);
  const health = await Promise.all(
    status.rings.map((ring) => (runs(ring) ? ask(`rings/${ring.name}/health`).catch(() => null) : null)),
  );
  const pages = await Promise.all(status.rings.map((ring) => ask(`rings/${ring.name}/history?limit=10`)));
  const events = pages.flatMap((page) => page.events).sort((a, b) => b.seq - a.seq).slice(0, 15);
  return { status, health, events };
}

async function refresh() {
  const seen = await tried(look);
  if (!seen) return;
  $("token-form").hidden = true;
  $("as-of").textContent = `${seen.status.summary} ${when(seen.status.as_of)}`;
  $("rings").replaceChildren(...seen.status.rings.map((ring, at) => card(ring, seen.health[at])));
  $("history").replaceChildren(
    ...seen.events.map((e) => row([when(e.at), e.ring, e.event, e.outcome, e.to, e.actor, e.reason])),
  );
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value.trim());
  $("token").value = "";
  refresh();
});

async function forever() {
  if (!document.hidden) await refresh();
  setTimeout(forever, EVERY_MS);
}
forever();

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
    quarantined: ring.quarantine?.map((one) => `${one.release}: ${one.reason}`).join("; "),
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
  await act(() => ask(`rings/${ring.name}/rollback`, { reason, wait_s: 0 }));
}

// What came of an action stays until the next one: a refresh says nothing about it.
async function act(work) {
  const said = $("said");
  try {
    const answer = await work();
    said.textContent = answer.summary;
    said.classList.toggle("bad", !answer.ok);
  } catch (problem) {
    said.textContent = problem.message;
    said.classList.add("bad");
    if ([401, 403].includes(problem.status)) askForToken();
  }
  said.hidden = false;
  await refresh();
}

function askForToken() {
  $("token-form").hidden = false;
}

const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

function planCard(plan, mayAnswer) {
  const shown = document.createElement("article");
  const back = plan.source === plan.target;
  shown.append(element("h2", back ? `${plan.target} goes back` : `${plan.source} → ${plan.target}`));
  const radius = plan.blast_radius;
  const critical = radius.critical.length ? `, critical: ${radius.critical.join(", ")}` : "";
  const facts = {
    plan: plan.plan_id,
    hash: plan.plan_hash,
    release: plan.release,
    "asked by": plan.asked_by,
    "who feels it": `${radius.services} services${critical}; ${radius.downtime}`,
    "way back": plan.rollback_to,
    until: when(plan.expires_at),
  };
  const list = document.createElement("dl");
  for (const [name, value] of Object.entries(facts)) {
    if (value) list.append(element("dt", name), element("dd", value));
  }
  const changes = document.createElement("ul");
  for (const c of plan.changes) {
    changes.append(element("li", `${c.service}: ${c.action} ${c.from ?? "nothing"} → ${c.to ?? "nothing"}`));
  }
  shown.append(list, changes);
  for (const warning of plan.warnings ?? []) shown.append(element("p", warning));
  if (mayAnswer) {
    for (const [label, decision] of [["Approve", "approved"], ["Reject", "rejected"]]) {
      const button = element("button", label);
      button.addEventListener("click", () => decide(plan, decision));
      shown.append(button, " ");
    }
  } else {
    shown.append(element("p", "An approver answers it here with their token, or:"));
    shown.append(element("code", `ring-ctl approve ${plan.plan_id}`));
  }
  return shown;
}

async function decide(plan, decision) {
  const note = prompt(`${plan.plan_id}: ${decision}. A word to whoever asked:`);
  if (note === null) return;
  const body = { plan_hash: plan.plan_hash, decision, ...(note && { note }) };
  await act(() => ask(`plans/${plan.plan_id}/approve`, body));
}

async function look() {
  const status = await ask("rings");
  const runs = (ring) => ring.kind === "runtime" && ["running", "stuck"].includes(ring.state);
  const health = await Promise.all(
    status.rings.map((ring) => (runs(ring) ? ask(`rings/${ring.name}/health`).catch(() => null) : null)),
  );
  const pages = await Promise.all(status.rings.map((ring) => ask(`rings/${ring.name}/history?limit=10`)));
  const events = pages.flatMap((page) => page.events).sort((a, b) => b.seq - a.seq).slice(0, 15);
  const waiting = await ask("plans").catch((problem) => ({ plans: [], problem }));
  return { status, health, events, waiting };
}

async function refresh() {
  let seen;
  try {
    seen = await look();
  } catch (problem) {
    $("trouble").textContent = problem.message;
    $("trouble").hidden = false;
    if (problem.status === 401) askForToken();
    return;
  }
  const unseen = seen.waiting.problem;
  $("trouble").textContent = unseen ? `What waits for a person cannot be shown. ${unseen.message}` : "";
  $("trouble").hidden = !unseen;
  $("as-of").textContent = `${seen.status.summary} ${when(seen.status.as_of)}`;
  $("rings").replaceChildren(...seen.status.rings.map((ring, at) => card(ring, seen.health[at])));
  $("plans-section").hidden = seen.waiting.plans.length === 0;
  $("plans").replaceChildren(...seen.waiting.plans.map((plan) => planCard(plan, seen.waiting.may_answer)));
  $("history").replaceChildren(
    ...seen.events.map((e) => row([when(e.at), e.ring, e.event, e.outcome, e.to, e.actor, e.reason ?? e.detail])),
  );
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value.trim());
  $("token").value = "";
  $("token-form").hidden = true;
  refresh();
});
$("other-token").addEventListener("click", askForToken);

async function forever() {
  if (!document.hidden) await refresh();
  setTimeout(forever, EVERY_MS);
}
forever();

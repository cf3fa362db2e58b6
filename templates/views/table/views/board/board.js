import { describe, subscribe } from "./workers-view.js";

/** @typedef {import("./workers-view.js").Row} Row */
/**
 * What src/main.lua declares for this view.
 * @typedef {object} Task
 * @property {string} name
 * @property {string} [status]
 * @property {number} [hours]
 * @property {string} [due]
 */

const COLUMNS = [
  { property: "name", title: "Name", kind: "" },
  { property: "status", title: "Status", kind: "" },
  { property: "hours", title: "Hours", kind: "number" },
  { property: "due", title: "Due", kind: "due" },
];
const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const numbers = new Intl.NumberFormat();

/** @type {string[]} */
let statuses = [];
/** @type {import("./workers-view.js").Sort} */
let sort = { property: "due", direction: "ascending" };
/** @type {Map<string, string>} */
let shown = new Map(); // key -> what a row looked like

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const statusBox = /** @type {HTMLSelectElement} */ (element("status"));
const searchBox = /** @type {HTMLInputElement} */ (element("search"));
const task = (/** @type {Row} */ { row }) => /** @type {Task} */ (row);
const colour = (/** @type {string | undefined} */ status) => `var(--series-${(Math.max(0, statuses.indexOf(status ?? "")) % 6) + 1})`;

/** @param {string} tag @param {string} className @param {string} text */
function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

// ---- the chart: all tasks, whatever the table shows ----

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} text */
function svg(tag, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, String(value));
  }
  node.textContent = text;
  return node;
}

/** @param {Task[]} tasks */
function drawChart(tasks) {
  const width = element("chart").clientWidth || 600;
  const sums = statuses.map((status) =>
    tasks.filter((each) => each.status === status).reduce((sum, { hours }) => sum + (hours ?? 0), 0));
  const scale = (width - 190) / Math.max(1, ...sums);
  element("chart").setAttribute("viewBox", `0 0 ${width} 132`);
  element("chart").replaceChildren(...statuses.flatMap((status, i) => [
    svg("text", { x: 0, y: 27 + 40 * i }, status),
    svg("rect", { x: 110, y: 10 + 40 * i, width: sums[i] * scale, height: 26, rx: 4, style: `fill: ${colour(status)}` }),
    svg("text", { x: 118 + sums[i] * scale, y: 27 + 40 * i, class: "value" }, `${numbers.format(sums[i])} h`),
  ]));
}

// ---- the table ----

function drawHeads() {
  element("heads").replaceChildren(...COLUMNS.map(({ property, title, kind }) => {
    const head = make("th", kind);
    const sorted = sort.property === property;
    const direction = sort.direction ?? "ascending";
    head.setAttribute("aria-sort", sorted ? direction : "none");
    const button = make("button", "", title + (sorted ? (direction === "ascending" ? " ↑" : " ↓") : ""));
    button.onclick = () => {
      sort = { property, direction: sorted && direction === "ascending" ? "descending" : "ascending" };
      follow();
    };
    head.append(button);
    return head;
  }));
}

/** @param {Row} entry */
function drawRow(entry) {
  const { name, status, hours, due } = task(entry);
  const line = make("tr");
  const badge = make("span", "badge", status);
  badge.style.setProperty("--colour", colour(status));
  const cell = make("td");
  cell.append(badge);
  line.append(
    make("td", "", name),
    cell,
    make("td", "number", hours === undefined ? "" : numbers.format(hours)),
    make("td", "due", due === undefined ? "" : dates.format(new Date(due))),
  );
  return line;
}

/** @param {import("./workers-view.js").Answer} answer */
function drawRows({ rows, hasMore }) {
  const before = shown;
  shown = new Map(rows.map(({ key, row }) => [key, JSON.stringify(row)]));
  element("count").textContent = `${rows.length}${hasMore ? "+" : ""}`;
  element("rows").replaceChildren(...rows.map((entry) => {
    const line = drawRow(entry);
    const known = before.get(entry.key);
    line.classList.toggle("changed", known !== undefined && known !== shown.get(entry.key));
    return line;
  }));
  element("problem").textContent = rows.length === 0 ? "There are no such tasks. Has the sync run? workers run" : "";
}

/** @param {unknown} error */
function complain(error) {
  element("problem").textContent = error instanceof Error ? error.message : String(error);
}

let stop = () => {};
function follow() {
  /** @type {import("./workers-view.js").Filter[]} */
  const conditions = [];
  if (statusBox.value) {
    conditions.push({ property: "status", equals: statusBox.value });
  }
  if (searchBox.value) {
    conditions.push({ property: "name", contains: searchBox.value });
  }
  drawHeads();
  stop();
  stop = subscribe("tasks", { filter: { and: conditions }, sorts: [sort], limit: 200 }, drawRows, complain);
}

try {
  statuses = (await describe()).dataSources.tasks.properties.status.options ?? [];
  statusBox.append(...statuses.map((status) => new Option(status)));
  statusBox.onchange = follow;
  searchBox.oninput = follow;
  follow();
  /** @type {Task[]} */
  let all = [];
  subscribe("tasks", { limit: 1000 }, ({ rows }) => drawChart((all = rows.map(task))), complain);
  addEventListener("resize", () => drawChart(all));
} catch (error) {
  complain(error);
}

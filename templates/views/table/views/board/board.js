import { describe, subscribe } from "./workers-view.js";

const element = (id) => document.getElementById(id);
const COLUMNS = [
  { property: "name", title: "Name" },
  { property: "status", title: "Status" },
  { property: "hours", title: "Hours", kind: "number" },
  { property: "due", title: "Due", kind: "due" },
];
const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const numbers = new Intl.NumberFormat();

let statuses = [];
let sort = { property: "due", direction: "ascending" };
let shown = new Map(); // key -> what a row looked like

const colour = (status) => `var(--series-${Math.max(0, statuses.indexOf(status)) % 6 + 1})`;

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className ?? "";
  node.textContent = text ?? "";
  return node;
}

// ---- the chart: all tasks, whatever the table shows ----

function svg(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, value);
  }
  node.textContent = text ?? "";
  return node;
}

function drawChart(rows) {
  const width = element("chart").clientWidth || 600;
  const sums = statuses.map((status) =>
    rows.filter(({ row }) => row.status === status).reduce((sum, { row }) => sum + (row.hours ?? 0), 0));
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
    head.setAttribute("aria-sort", sorted ? sort.direction : "none");
    const button = make("button", "", title + (sorted ? (sort.direction === "ascending" ? " ↑" : " ↓") : ""));
    button.type = "button";
    button.onclick = () => {
      sort = { property, direction: sorted && sort.direction === "ascending" ? "descending" : "ascending" };
      follow();
    };
    head.append(button);
    return head;
  }));
}

function drawRow({ key, row }) {
  const line = make("tr");
  const badge = make("span", "badge", row.status);
  badge.style.setProperty("--colour", colour(row.status));
  const status = make("td");
  status.append(badge);
  line.append(
    make("td", "", row.name),
    status,
    make("td", "number", row.hours === undefined ? "" : numbers.format(row.hours)),
    make("td", "due", row.due === undefined ? "" : dates.format(new Date(row.due))),
  );
  line.dataset.key = key;
  return line;
}

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

const complain = (error) => (element("problem").textContent = error.message);

let stop = () => {};
function follow() {
  const conditions = [];
  if (element("status").value) {
    conditions.push({ property: "status", equals: element("status").value });
  }
  if (element("search").value) {
    conditions.push({ property: "name", contains: element("search").value });
  }
  drawHeads();
  stop();
  stop = subscribe("tasks", { filter: { and: conditions }, sorts: [sort], limit: 200 }, drawRows, complain);
}

try {
  statuses = (await describe()).dataSources.tasks.properties.status.options;
  element("status").append(...statuses.map((status) => new Option(status)));
  element("status").onchange = follow;
  element("search").oninput = follow;
  follow();
  let all = [];
  subscribe("tasks", { limit: 1000 }, ({ rows }) => drawChart((all = rows)), complain);
  addEventListener("resize", () => drawChart(all));
} catch (error) {
  complain(error);
}

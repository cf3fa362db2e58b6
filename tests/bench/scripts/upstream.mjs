// The pages of upstream.lua, for Node.
export const ROWS = 100000;
export const PAGE = 100;

const STATUSES = ["Open", "In progress", "Blocked", "Done"];
const two = (n) => String(n).padStart(2, "0");

export function upstreamPage(page) {
  const items = [];
  const first = (page - 1) * PAGE;
  for (let i = 1; i <= PAGE; i++) {
    const n = first + i;
    items.push({
      id: `task-${n}`,
      name: `Task number ${n} of the backlog`,
      status: STATUSES[n % 4],
      points: (n % 1000) + 0.5,
      due: `2025-${two((n % 12) + 1)}-${two((n % 28) + 1)}`,
      done: n % 3 === 0,
    });
  }
  return { items, more: first + PAGE < ROWS };
}

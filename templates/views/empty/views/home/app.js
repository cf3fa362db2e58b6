import { subscribe } from "./workers-view.js";

const list = document.getElementById("notes");

// Called with the rows, and again whenever they have changed.
subscribe("notes", { sorts: [{ property: "title" }] }, ({ rows }) => {
  list?.replaceChildren(
    ...rows.map(({ row }) => {
      const item = document.createElement("li");
      item.textContent = String(row.title);
      return item;
    }),
  );
});

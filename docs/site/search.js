/* Finds sections and functions by their names, then by their text. Every word has to occur. */
"use strict";

function scoreOf(word, name, text) {
  if (name === word) return 100;
  const at = name.indexOf(word);
  if (at === 0) return 60;
  if (at > 0) return /\w/.test(name[at - 1]) ? 20 : 45;
  return text.includes(word) ? 5 : 0;
}

/* The best entries for what was typed, at most `limit`: each [what, page, address, text]. */
function search(index, typed, limit) {
  const query = typed.trim().toLowerCase();
  const words = query.split(/\s+/).filter(Boolean);
  const found = [];
  if (words.length === 0) return found;
  for (const entry of index) {
    const what = entry[0].toLowerCase(), name = what.replace(/[({\[ ].*$/, "");
    const text = (entry[1] + " " + entry[3]).toLowerCase();
    let score = 0;
    for (const word of words) {
      const one = Math.max(scoreOf(word, name, ""), scoreOf(word, what, text));
      if (one === 0) { score = 0; break; }
      score += one;
    }
    if (score === 0) continue;
    if (what === query || name === query) score += 1000;
    else if (what.startsWith(query)) score += (/\w/.test(what[query.length]) ? 400 : 700) - Math.min(what.length, 200);
    else if (what.includes(query)) score += 200;
    found.push([score, entry]);
  }
  found.sort((a, b) => b[0] - a[0]);
  return found.slice(0, limit).map((pair) => pair[1]);
}

if (typeof module !== "undefined") {
  module.exports = search;
} else {
  const input = document.getElementById("search"), list = document.getElementById("found");
  const show = () => {
    const found = search(searchIndex, input.value, 12);
    list.replaceChildren(...found.map(([what, page, address, text]) => {
      const item = document.createElement("li"), link = document.createElement("a");
      const where = document.createElement("small"), about = document.createElement("p");
      link.href = list.dataset.up + address;
      link.textContent = what;
      where.textContent = page === what ? "" : page;
      about.textContent = text.slice(0, 140);
      item.append(link, where, about);
      return item;
    }));
    if (found.length === 0 && input.value.trim() !== "") list.textContent = "Nothing has all of these words.";
    list.hidden = input.value.trim() === "";
  };
  input.addEventListener("input", show);
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const first = list.querySelector("a");
    if (first) { list.hidden = true; location.href = first.href; }
  });
  list.addEventListener("click", (event) => { if (event.target.closest("a")) list.hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) { event.preventDefault(); input.focus(); }
    if (event.key === "Escape") list.hidden = true;
  });
}

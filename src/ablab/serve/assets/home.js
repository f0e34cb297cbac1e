// The start page: checks for changes every two seconds, and filters and sorts the list of runs.
const element = (id) => document.getElementById(id);
const parts = ["summary", "entries", "entries-pages", "rows", "runs-pages"];
let version = document.body.dataset.version;
let sorted = { column: null, falling: false };

function arrange() {
  const rows = element("rows");
  if (!rows) return;
  const words = element("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const status = element("status").value;
  let count = 0;
  const every = [...rows.children];
  for (const row of every) {
    const text = row.textContent.toLowerCase();
    row.hidden = !(words.every((word) => text.includes(word)) && (!status || row.dataset.status === status));
    if (!row.hidden) count++;
  }
  const noun = (every.length === 1 ? "run" : "runs") + (Number(element("runs-pages").dataset.pages) > 1 ? " of this page" : "");
  element("count").textContent = count === every.length ? `${count} ${noun}` : `${count} of ${every.length} ${noun}`;
  if (sorted.column === null) return;
  const key = (row) => {
    const cell = row.children[sorted.column];
    const value = cell.dataset.value ?? cell.textContent;
    const isNumber = cell.classList.contains("number") && !isNaN(value); // ids can look like numbers
    return value === "" ? null : isNumber ? Number(value) : value;
  };
  const order = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return (x === null) - (y === null); // missing values come last
    const less = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
    return sorted.falling ? -less : less;
  };
  rows.append(...every.sort(order));
}

document.querySelectorAll("#runs th button").forEach((button, column) => button.addEventListener("click", () => {
  sorted = { column, falling: sorted.column === column && !sorted.falling };
  document.querySelectorAll("#runs th").forEach((th, index) => {
    if (index === column) th.setAttribute("aria-sort", sorted.falling ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  });
  arrange();
}));
for (const name of ["search", "status"]) {
  const control = element(name);
  if (control) control.addEventListener("input", arrange);
}

async function look() {
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { "If-None-Match": `"${version}"` }, cache: "no-store" });
    if (answer.status !== 200 && answer.status !== 304) throw new Error(answer.status);
    document.body.classList.remove("lost");
    if (answer.status === 200) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (Boolean(page.getElementById("rows")) !== Boolean(element("rows"))) location.reload(); // the store exists now
      version = page.body.dataset.version;
      for (const part of parts) {
        const found = page.getElementById(part);
        if (found && element(part)) element(part).replaceWith(found);
      }
      arrange();
    }
  } catch {
    document.body.classList.add("lost");
  }
  setTimeout(look, document.hidden ? 10000 : 2000);
}

arrange();
setTimeout(look, 2000);

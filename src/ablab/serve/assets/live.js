// Checks for new points every two seconds, and draws them without reloading the page.
const live = element("live");
let version = live.dataset.version;
let renewed = version; // the version of tables and sentences
let tables = live.dataset.tables; // changes with what only tables and sentences show
let newest = tables; // that of the server
let behind = false; // whether tables and sentences are older than the curves

async function look() {
  try {
    const asked = { headers: { "If-None-Match": `"${version}"` }, cache: "no-store" };
    const answer = await fetch(`${location.pathname}/data`, asked);
    if (answer.status !== 200 && answer.status !== 304) throw new Error(answer.status);
    live.classList.remove("lost");
    if (answer.status === 200) {
      const found = await answer.json();
      version = found.version;
      replaceData(found.grid, found.data);
      newest = found.tables;
      behind = behind || tables !== newest || element("live-statuses").textContent !== found.statuses;
      element("live-statuses").textContent = found.statuses;
      element("live-share").style.width = `${100 * found.share}%`;
      live.classList.toggle("running", found.running > 0);
    }
    if (behind) behind = !(await renew());
  } catch {
    live.classList.add("lost"); // the server was stopped or is suspended, or has another token now
  }
  setTimeout(look, document.hidden ? 10000 : 2000);
}

// Replaces tables and sentences after a run has started or ended, or something was noted or found.
// Returns whether they are up to date: the server may send an older page if rendering takes long.
async function renew() {
  const asked = { headers: { "If-None-Match": `"${renewed}"` }, cache: "no-store" };
  const answer = await fetch(location.pathname + location.search, asked);
  if (answer.status !== 200) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const made = page.getElementById("live");
  renewed = made.dataset.version;
  tables = made.dataset.tables;
  const name = (section) => section.id || (section.querySelector("h2") || section).textContent;
  const old = new Map([...document.querySelectorAll("main > section")].map((section) => [name(section), section]));
  let before = page.querySelector("main > header");
  document.querySelector("main > header").replaceWith(before);
  for (const section of page.querySelectorAll("main > section")) {
    const there = old.get(name(section));
    old.delete(name(section));
    if (there && there.contains(holder)) {
      there.querySelector(".static").replaceWith(section.querySelector(".static"));
      before = there;
      continue;
    }
    if (there) {
      const open = [...there.querySelectorAll("details")].map((each) => each.open);
      section.querySelectorAll("details").forEach((each, index) => { each.open = Boolean(open[index]); });
      const [chosen, choice] = [there, section].map((each) => each.querySelector("select"));
      if (chosen && choice && [...choice.options].some((option) => option.value === chosen.value)) choice.value = chosen.value;
      there.replaceWith(section);
    } else before.after(section);
    attachMaps(section);
    before = section;
  }
  for (const each of old.values()) if (!each.contains(holder)) each.remove(); // nothing is to be told any more
  showChosen();
  return tables === newest && page.getElementById("live-statuses").textContent === element("live-statuses").textContent;
}

setTimeout(look, 2000);

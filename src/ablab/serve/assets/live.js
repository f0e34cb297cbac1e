// Checks for new points every two seconds, and draws them without reloading the page.
const live = element("live");
let version = live.dataset.version;
let renewed = version; // the version of tables and sentences
let behind = false; // whether tables and sentences are older than the curves

async function look() {
  try {
    const asked = { headers: { "If-None-Match": `"${version}"` }, cache: "no-store" };
    const answer = await fetch(`${location.pathname}/data`, asked);
    live.classList.remove("lost");
    if (answer.status === 200) {
      const found = await answer.json();
      version = found.version;
      replaceData(found.grid, found.data);
      behind = behind || element("live-statuses").textContent !== found.statuses;
      element("live-statuses").textContent = found.statuses;
      element("live-share").style.width = `${100 * found.share}%`;
      live.classList.toggle("running", found.running > 0);
    }
    if (behind) behind = !(await renew());
  } catch {
    live.classList.add("lost"); // the server was stopped or is suspended; it may come back
  }
  setTimeout(look, document.hidden ? 10000 : 2000);
}

// Replaces tables and sentences after a run has started or ended. Returns whether they are up to
// date: the server may send an older page if rendering it takes long.
async function renew() {
  const asked = { headers: { "If-None-Match": `"${renewed}"` }, cache: "no-store" };
  const answer = await fetch(location.pathname + location.search, asked);
  if (answer.status !== 200) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  renewed = page.getElementById("live").dataset.version;
  const name = (section) => section.id || (section.querySelector("h2") || section).textContent.slice(0, 40);
  const old = new Map([...document.querySelectorAll("main > section")].map((section) => [name(section), section]));
  let before = document.querySelector("main > header");
  for (const section of page.querySelectorAll("main > section")) {
    const there = old.get(name(section));
    if (there && there.contains(holder)) {
      there.querySelector(".static").replaceWith(section.querySelector(".static"));
      before = there;
      continue;
    }
    if (there) {
      const open = [...there.querySelectorAll("details")].map((each) => each.open);
      section.querySelectorAll("details").forEach((each, index) => { each.open = Boolean(open[index]); });
      there.replaceWith(section);
    } else before.after(section);
    before = section;
  }
  return page.getElementById("live-statuses").textContent === element("live-statuses").textContent;
}

setTimeout(look, 2000);

// Looks for new points every other second, and draws them where they are; nothing is loaded anew.
const live = element("live");
let version = live.dataset.version;
let renewed = version; // of tables and sentences
let behind = false; // whether tables and sentences say less than the curves

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
    live.classList.add("lost"); // it was stopped, or sleeps; it may come back
  }
  setTimeout(look, document.hidden ? 10000 : 2000);
}

// When a run has begun or ended, tables and sentences say more: they are put in the place of the
// old. Says whether they are up to date: a page that takes long is not made every time.
async function renew() {
  const asked = { headers: { "If-None-Match": `"${renewed}"` }, cache: "no-store" };
  const answer = await fetch(location.pathname, asked);
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

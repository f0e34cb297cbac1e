// Looks for new points every other second, and draws them where they are; nothing is loaded anew.
const live = element("live");
let version = live.dataset.version;
let ended = live.dataset.ended;

async function look() {
  try {
    const asked = { headers: { "If-None-Match": `"${version}"` }, cache: "no-store" };
    const answer = await fetch(`${location.pathname}/data`, asked);
    live.classList.remove("lost");
    if (answer.status === 200) {
      const found = await answer.json();
      version = found.version;
      replaceData(found.grid, found.data);
      element("live-statuses").textContent = found.statuses;
      element("live-share").style.width = `${100 * found.share}%`;
      live.classList.toggle("running", found.running > 0);
      if (String(found.ended) !== ended) {
        ended = String(found.ended);
        await renew();
      }
    }
  } catch {
    live.classList.add("lost"); // it was stopped, or sleeps; it may come back
  }
  setTimeout(look, document.hidden ? 10000 : 2000);
}

// When a run has ended, the tables and sentences say more: they are put in the place of the old.
async function renew() {
  const answer = await fetch(location.pathname, { cache: "no-store" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
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
}

setTimeout(look, 2000);

// Parts around the figure: the controls are folded on phones, and one variant's statistics shown.
const phone = matchMedia("(max-width: 600px)");
const folded = element("controls");
const fold = () => { if (folded) folded.open = !phone.matches; };
fold();
phone.addEventListener("change", fold);

function showChosen() {
  const choice = element("watched-variant");
  for (const set of document.querySelectorAll(".watched-set")) set.open = !choice || set.dataset.variant === choice.value;
}
// Of the document, since a live page replaces its sections.
document.addEventListener("change", (event) => { if (event.target.id === "watched-variant") showChosen(); }, true);
showChosen();

// Older browsers print only what is open.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open], .unprinted)")];
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => { for (const each of opened) each.open = false; });

// Parts around the figure: the controls are folded on phones, and one variant's statistics shown.
const phone = matchMedia("(max-width: 600px)");
const folded = element("controls");
const fold = () => { if (folded) folded.open = !phone.matches; };
fold();
phone.addEventListener("change", fold);

const choice = element("watched-variant");
if (choice) {
  const showChosen = () => {
    for (const set of document.querySelectorAll(".watched-set")) set.open = set.dataset.variant === choice.value;
  };
  choice.addEventListener("change", showChosen);
  showChosen();
} else for (const set of document.querySelectorAll(".watched-set")) set.open = true;

// Older browsers print only what is open.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open], .unprinted)")];
  for (const each of opened) each.open = true;
});
addEventListener("afterprint", () => { for (const each of opened) each.open = false; });

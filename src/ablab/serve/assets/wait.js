// Before there is anything to draw: the page comes again when there is.
if (!document.getElementById("plot")) {
  const shown = document.getElementById("live").dataset.version;
  setInterval(async () => {
    try {
      const asked = { headers: { "If-None-Match": `"${shown}"` }, cache: "no-store" };
      const answer = await fetch(`${location.pathname}/data`, asked);
      if (answer.status === 200) location.reload();
    } catch { /* it was stopped, or sleeps */ }
  }, 2000);
}

(() => {
  "use strict";
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);

  for (const title of document.querySelectorAll("svg title")) {
    const mark = title.parentElement;
    mark.dataset.tip = title.textContent;
    title.remove();
  }

  const show = (event) => {
    const mark = event.target.closest?.("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const { width, height } = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const beside = event.clientX + 18;
    const left = beside + width + 8 > room ? event.clientX - width - 18 : beside;
    tip.style.left = `${Math.min(Math.max(8, left), room - width - 8)}px`;
    tip.style.top = `${Math.max(8, event.clientY - height - 12)}px`;
  };

  document.addEventListener("pointermove", show, { passive: true });
  document.addEventListener("pointerdown", show, { passive: true });
  document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  document.documentElement.dataset.ready = "true";
})();

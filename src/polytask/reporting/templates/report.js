// Draws every figure in the colours of the theme, gives the data links their files, and answers the preference sliders.
(() => {
  "use strict";
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)"), modes = ["auto", "light", "dark"];
  const store = { get: (k) => { try { return localStorage.getItem(k); } catch { return null; } }, set: (k, v) => { try { localStorage.setItem(k, v); } catch { /* a file without storage */ } } };
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const list = (name) => colour(name).split(",").map((one) => one.trim());
  const payload = (element) => JSON.parse(element.querySelector(":scope > script[type='application/json']").textContent);
  const figures = [...document.querySelectorAll("figure.chart")].map((element) => ({ element, plot: element.querySelector(".plot"), ...payload(element), result: null }));
  let mode = modes.includes(store.get("polytask-theme")) ? store.get("polytask-theme") : "auto", drawing = 0;

  function config() {
    const ink = colour("--ink"), soft = colour("--soft"), line = colour("--line");
    const font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
    return {
      background: null, font, mark: { color: list("--series")[0] }, view: { stroke: null },
      axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelLimit: innerWidth < 600 ? 96 : 190, titleFontWeight: "normal", labelFontSize: 11, titleFontSize: 12, tickCount: 4 },
      axisBand: { grid: false, domain: false, ticks: false },
      legend: { labelColor: ink, titleColor: soft, titleFontWeight: "normal", labelLimit: 150, orient: "bottom", columns: innerWidth < 600 ? 2 : 5, labelFontSize: 12, symbolLimit: 60 },
      title: { color: ink, fontWeight: "normal" }, text: { color: ink }, rule: { color: soft }, tick: { color: list("--series")[0] }, point: { filled: true }, line: { strokeJoin: "round" }, rect: { stroke: colour("--paper") },
      range: { category: list("--series"), heatmap: list("--ramp"), ramp: list("--ramp"), diverging: list("--diverging") },
    };
  }

  async function draw(figure, look) {
    const { spec, csv, parse } = figure;
    const given = { ink: colour("--ink"), paper: colour("--paper"), soft: colour("--soft"), accent: colour("--accent"), warm: list("--series")[1] };
    const whole = {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: "container", autosize: { type: "fit-x", contains: "padding" }, ...spec,
      data: { values: csv, format: { type: "csv", parse } }, params: [...Object.entries(given).map(([name, value]) => ({ name, value })), ...(spec.params ?? [])],
    };
    const hold = figure.plot.offsetHeight;
    figure.plot.style.minHeight = hold ? `${hold}px` : "";
    figure.result?.finalize();
    figure.result = await vegaEmbed(figure.plot, whole, { renderer: "svg", config: look, actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: figure.element.querySelector(".csv").download.replace(/\.csv$/, "") });
    figure.plot.style.minHeight = "";
    tellSteps(figure);
    for (const label of figure.plot.querySelectorAll(".vega-bindings label")) label.querySelector("input, select")?.setAttribute("aria-label", label.querySelector(".vega-bind-name").textContent.trim());
  }

  function tellSteps({ plot, spec, result }) { // a slider holds the place of a moment; people and readers hear its step
    const steps = spec.params?.find((param) => param.name === "steps")?.value, slider = plot.querySelector("input[type='range']");
    if (!steps || !slider) return;
    const said = slider.closest("label").appendChild(document.createElement("output"));
    const tell = (place) => { said.value = `step ${steps[place]}`; slider.setAttribute("aria-valuetext", said.value); };
    tell(result.view.signal("moment"));
    result.view.addSignalListener("moment", (_, place) => tell(place));
  }

  async function drawAll() {
    const own = ++drawing, look = config();
    delete root.dataset.drawn;
    for (const figure of figures) {
      if (own !== drawing) return;
      try { await draw(figure, look); } catch (error) { figure.plot.textContent = `This figure cannot be drawn (${error.message}).`; console.error(error); }
      await new Promise((next) => setTimeout(next)); // the page stays usable between two figures
    }
    root.dataset.drawn = "yes";
    document.querySelectorAll("form.choice").forEach((form) => form.dispatchEvent(new Event("input")));
  }

  function paint() {
    root.dataset.theme = mode === "auto" ? (dark.matches ? "dark" : "light") : mode;
    document.querySelector("#theme span").textContent = mode;
  }
  document.querySelector("#theme").addEventListener("click", () => { mode = modes[(modes.indexOf(mode) + 1) % 3]; store.set("polytask-theme", mode); paint(); drawAll(); });
  dark.addEventListener("change", () => { if (mode === "auto") { paint(); drawAll(); } });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.csv");
    if (!link || link.href.startsWith("blob:")) return;
    link.href = URL.createObjectURL(new Blob([payload(link.closest("figure, .table")).csv], { type: "text/csv" })); // the click goes on and downloads it
  });

  for (const form of document.querySelectorAll("form.choice")) {
    const { tasks, points, scaled, start } = payload(form), sliders = [...form.querySelectorAll("input")], picked = form.querySelector(".picked");
    let touched = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      touched ||= event.target !== form;
      sliders.forEach((slider) => { slider.nextElementSibling.value = slider.value; });
      const worth = scaled.map((row) => row.reduce((sum, value, task) => sum + value * sliders[task].value, 0));
      const best = touched ? worth.indexOf(Math.max(...worth)) : start;
      picked.replaceChildren(...[["point", points[best].name], ...tasks.map((task, place) => [task, points[best].values[place]])].map(([name, value]) => {
        const item = document.createElement("span"), strong = document.createElement("b");
        strong.textContent = value; item.append(`${name} `, strong); return item;
      }));
      const own = form.closest("section");
      for (const figure of figures) if (figure.listens && own.contains(figure.element)) figure.result?.view.signal("chosen", points[best].number).runAsync();
    });
  }

  if (document.querySelector("meta[http-equiv='refresh']")) { // the next page opens where this one was read
    const place = `polytask-place-${location.pathname}`;
    try { scrollTo(0, Number(sessionStorage.getItem(place) ?? 0)); addEventListener("pagehide", () => sessionStorage.setItem(place, String(scrollY))); } catch { /* no storage */ }
  }
  paint();
  drawAll();
})();

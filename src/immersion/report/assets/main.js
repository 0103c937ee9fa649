// Puts the page together, and tells tests and curious readers how fast it was.

async function start() {
  const timings = {};
  const language = new Language(readJson("messages"), document.documentElement.dataset.language);
  const palette = new Palette(readJson("palette"));
  language.apply();
  showWords();

  // Words first: they need none of the packed data.
  const words = readJson("data");
  renderFacts(words, language);
  const actions = {};
  const findings = new Findings({ model: words, language }, actions);
  const checks = new Checks({ model: words, language });
  findings.render();
  checks.render();
  timings.words = performance.now();

  const model = await loadModel(words);
  const state = new State(model.n);
  const pictures = new Pictures(model.thumbnails);
  const context = { model, state, language, palette, pictures };
  const views = [{ render: () => renderFacts(model, language) }, findings, checks];

  // All that follows the words takes its place in one task, before the first map is unpacked:
  // pictures, maps and lines fill the room they were given, and nothing moves.
  const maps = model.maps.length > 0 ? openMaps(context, actions, timings) : null;
  if (maps !== null) views.push(...maps.views);
  actions.goToLayer = (layer, scroll = true) => maps?.goToLayer(layer, scroll);
  actions.showSamples = (finding) => {
    state.select(finding.samples, () =>
      language.say("page.selection.finding", { title: language.pick(finding.title) }),
    );
    if (finding.layer !== null) actions.goToLayer(finding.layer, false);
    scrollTo("maps");
  };
  actions.showSample = (row) => {
    state.pin(row);
    scrollTo("maps");
  };

  let charts = null;
  if (model.curves.length > 0 && model.layers.length > 0) {
    byId("curves").hidden = false;
    charts = new Charts(context, actions);
    views.push(charts);
  }
  const suspects = model.suspects.length > 0 ? new Suspects(context, actions) : null;
  if (suspects !== null) {
    byId("suspects").hidden = false;
    suspects.render();
    views.push(suspects);
  }
  charts?.render();
  byId("colophon").hidden = false;
  const setTheme = connectSwitches(language, palette, views, () => maps?.redraw());
  connectPrinting(setTheme, suspects);
  await maps?.showFirst();
  new ResizeObserver(() => charts?.resize()).observe(byId("charts"));
  await Promise.all([pictures.load(), maps?.loadRest()]);
  timings.ready = performance.now();
  exposeProbe({ model, state, maps, timings });
}

/** Takes the place of the line that stood there while the file was read. */
function showWords() {
  byId("opening").hidden = true;
  byId("content").hidden = false;
}

function scrollTo(id) {
  byId(id).scrollIntoView({ behavior: prefersStillness() ? "auto" : "smooth", block: "start" });
}

/** The maps section, still without points; returns what the rest of the page needs of it. */
function openMaps(context, actions, timings) {
  const { model, state, language, palette, pictures } = context;
  byId("maps").hidden = false;
  const scene = new Scene(model, state, palette);
  const tooltip = new Tooltip({ model, scene, language, pictures, palette });
  const map = new LargeMap({ ...context, scene, tooltip });
  const live = byId("live");
  const announce = (row) => (live.textContent = tooltip.sentence(row));
  const legend = new Legend(context);
  const panel = new SelectionPanel({
    ...context,
    announceCount: () => (live.textContent = state.count > 0 ? panel.sentence() : ""),
  });
  const search = new Search({ ...context, legend, announce });
  const lasso = (polygon) => {
    const { layer } = model.maps[state.map];
    const begin = performance.now();
    state.select(rowsInside(map.xy, polygon), () => language.say("page.selection.lasso", { layer }));
    timings.lasso = performance.now() - begin;
  };
  const step = (by) => {
    const count = model.maps.length;
    state.showMap((state.map + by + count) % count);
  };
  const gestures = new Gestures(map, state, language, {
    lasso,
    announce,
    selectClassOf: (row) => {
      if (model.labels !== null && model.labels[row] !== NO_CLASS) {
        legend.selectClass(model.labels[row]);
      }
    },
  });
  const caption = { render: () => renderMapCaption(model, state, language, map) };
  const views = [caption, legend, panel, search, { render: () => tooltip.forget() }];

  caption.render();
  legend.render();
  panel.render();
  const multiples = new Multiples({ ...context, scene });
  multiples.arrange();
  let shown = null;
  state.on("map", async () => {
    const index = state.map;
    await model.loadMap(index);
    if (index !== state.map) return; // the reader went on while this layer was unpacked
    caption.render();
    map.show(shown);
    shown = map.xy;
  });
  connectMapControls(map, gestures, step);
  return {
    map,
    views,
    lasso,
    redraw() {
      tooltip.forget();
      map.draw();
      multiples.draw();
    },
    goToLayer(layer, scroll) {
      const index = model.maps.findIndex((one) => one.layer === layer);
      if (index >= 0) state.showMap(index);
      if (scroll) scrollTo("maps");
    },
    async showFirst() {
      await model.loadMap(0);
      shown = map.xy;
      map.resize();
      await painted();
      timings.firstMap = performance.now();
      new ResizeObserver(() => map.resize()).observe(map.stage);
      new ResizeObserver(() => multiples.resize()).observe(multiples.container);
    },
    async loadRest() {
      multiples.resize();
      for (let index = 0; index < model.maps.length; index++) {
        await model.loadMap(index);
        multiples.drawOne(index);
        await nextTask();
      }
      multiples.follow();
    },
  };
}

function renderMapCaption(model, state, language, map) {
  const { layer, caption } = model.maps[state.map];
  const count = language.say("page.maps.position", {
    place: state.map + 1,
    total: model.maps.length,
  });
  byId("layer-count").textContent = count;
  byId("layer-name").textContent = layer;
  byId("layer-name").title = layer;
  byId("map-caption").textContent = language.pick(caption);
  map.stage.setAttribute("aria-label", language.say("page.maps.label", { layer }));
  map.stage.setAttribute("aria-roledescription", language.say("page.maps.role"));
}

function connectMapControls(map, gestures, step) {
  byId("layer-previous").addEventListener("click", () => step(-1));
  byId("layer-next").addEventListener("click", () => step(1));
  byId("zoom-in").addEventListener("click", () => map.zoomBy(1.4));
  byId("zoom-out").addEventListener("click", () => map.zoomBy(1 / 1.4));
  byId("zoom-reset").addEventListener("click", () => map.reset());
  const modes = [...document.querySelectorAll("[data-drag]")].filter((node) => node !== map.stage);
  const setMode = (mode) => {
    gestures.setMode(mode);
    for (const node of modes) node.setAttribute("aria-pressed", String(node.dataset.drag === mode));
  };
  for (const node of modes) node.addEventListener("click", () => setMode(node.dataset.drag));
  setMode("pan");
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea") !== null;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "[") step(-1);
    if (event.key === "]") step(1);
  });
}

/** Connects the language and theme switches; returns the function that sets the theme. */
function connectSwitches(language, palette, views, redrawMaps) {
  const render = () => {
    for (const view of views) view.render();
    redrawMaps();
  };
  const languageButtons = document.querySelectorAll("[data-language]:not(html)");
  const themeButtons = document.querySelectorAll("[data-theme-choice]");
  const mark = () => {
    for (const node of languageButtons) {
      node.setAttribute("aria-pressed", String(node.dataset.language === language.code));
    }
    const { theme } = document.documentElement.dataset;
    for (const node of themeButtons) {
      node.setAttribute("aria-pressed", String(node.dataset.themeChoice === theme));
    }
  };
  const setTheme = (theme) => {
    document.documentElement.dataset.theme = theme;
    palette.read();
    mark();
    render();
  };
  for (const node of languageButtons) {
    node.addEventListener("click", () => language.set(node.dataset.language));
  }
  for (const node of themeButtons) {
    node.addEventListener("click", () => setTheme(node.dataset.themeChoice));
  }
  language.onChange(() => {
    mark();
    render();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) =>
    setTheme(event.matches ? "dark" : "light"),
  );
  mark();
  return setTheme;
}

/** On paper nothing can be opened, turned or lit: while the page prints, all of it shows. */
function connectPrinting(setTheme, suspects) {
  let opened = [];
  let theme = null;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    if (theme !== "light") setTheme("light");
    suspects?.setPaged(false);
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const node of opened) node.open = true;
  });
  addEventListener("afterprint", () => {
    for (const node of opened) node.open = false;
    suspects?.setPaged(true);
    if (theme !== null && theme !== "light") setTheme(theme);
  });
}

/** `window.__immersion`: what the page shows and how long it took; nothing there writes data. */
function exposeProbe({ model, state, maps, timings }) {
  const timed = (action) => {
    const begin = performance.now();
    const result = action();
    return { result, ms: performance.now() - begin };
  };
  const probe = {
    get timings() {
      return { ...timings };
    },
    get layer() {
      return model.maps[state.map]?.layer ?? null;
    },
    get selectionCount() {
      return state.count;
    },
    get selectedRows() {
      return [...state.rows].sort((a, b) => a - b);
    },
    get focused() {
      return state.focused;
    },
    get backend() {
      return maps?.map.renderer.backend ?? null;
    },
    /** Where sample `row` stands in the large map, in CSS pixels of the stage. */
    pixelsOf: (row) => maps.map.pixelsOf(row),
    /** Selects what lies inside `polygon` ([[x, y], ...], data coordinates), in every map. */
    lasso(polygon) {
      const { ms } = timed(() => maps.lasso(polygon));
      return { count: state.count, ms };
    },
    /** Moves the focus to the sample at (x, y), data coordinates. */
    hover(x, y) {
      const { ms } = timed(() => state.hover(maps.map.rowAt(x, y)));
      return { row: state.focused, ms };
    },
  };
  Object.defineProperty(window, "__immersion", { value: Object.freeze(probe) });
}

function painted() {
  return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
}

function nextTask() {
  return new Promise((resolve) => setTimeout(resolve));
}

start().catch((error) => {
  // An old browser, or a file cut short: the findings above stand, and the reader is told.
  const { dataset } = document.documentElement;
  const chinese = dataset.language === "zh" || document.documentElement.lang.startsWith("zh");
  const node = byId("failure");
  const messages = readJson("messages")[chinese ? "zh" : "en"];
  node.textContent = messages["page.failure"].replace("{reason}", String(error?.message ?? error));
  showWords();
  byId("colophon").hidden = false;
  node.hidden = false;
});

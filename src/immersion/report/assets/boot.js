// Before the first paint: the reader's theme, so that a dark screen does not flash white.
document.documentElement.dataset.theme =
  matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

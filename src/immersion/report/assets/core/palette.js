// Colours of the classes, one set a theme.
//
// The sets were searched for: every colour has a contrast of 3:1 or more on its theme's ground,
// and the least OKLab distance between any two of the first ten is as large as a search could
// make it under normal vision and simulated protanopia, deuteranopia and tritanopia
// (tests/report/test_report_palette.py measures both). Beyond the set's length colours repeat.

class Palette {
  constructor(sets) {
    this.sets = sets;
    this.length = sets.light.length;
    this.read();
  }

  /** Takes over the theme that the document has now. */
  read() {
    const theme = document.documentElement.dataset.theme;
    const style = getComputedStyle(document.documentElement);
    const token = (property) => style.getPropertyValue(property).trim();
    this.theme = theme;
    this.classes = this.sets[theme];
    this.ground = token("--ground");
    this.ink = token("--ink");
    this.muted = token("--muted");
    this.hairline = token("--hairline");
    this.accent = token("--accent");
    this.single = token("--single");
    this.unselected = token("--unselected");
    this.unknown = token("--muted");
    this.nullSeries = token("--null-series");
  }

  /** The slot of a class: its place in the set; the last slot stands for an unknown class. */
  slot(label) {
    return label === NO_CLASS ? this.length : label % this.length;
  }

  /** The CSS colour of a class, or of all points where there are no classes (`null`). */
  css(label) {
    if (label === null) return this.single;
    return label === NO_CLASS ? this.unknown : this.classes[label % this.length];
  }

  /** The colour of the k-th line of a chart: the accent, then the classes' least like the former. */
  line(k) {
    const { lines } = this.sets;
    return k === 0 ? this.accent : this.classes[lines[(k - 1) % lines.length]];
  }

  /** The colours by slot, as [r, g, b]; with `labelled` false every slot has the one colour. */
  table(labelled) {
    const colours = labelled
      ? [...this.classes, this.unknown]
      : new Array(this.length + 1).fill(this.single);
    return colours.map(rgb);
  }
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// Pointer, wheel and keyboard on the large map.

const LASSO_STEP = 4; // CSS pixels between corners of a lasso
const CLICK_SLACK = 4; // CSS pixels a click may wander
const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

class Gestures {
  /** `actions`: {lasso(polygon), selectClassOf(row), step(by), announce(row)}. */
  constructor(map, state, language, actions) {
    Object.assign(this, { map, state, language, actions });
    this.mode = "pan";
    this.pointers = new Map();
    this.start = null;
    const { stage } = map;
    const on = (event, handler, options) => stage.addEventListener(event, handler, options);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.cancel(event));
    on("pointerleave", () => this.state.hover(-1));
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("dblclick", () => map.reset());
    on("keydown", (event) => this.key(event));
  }

  setMode(mode) {
    this.mode = mode;
    this.map.stage.dataset.drag = mode;
  }

  at(event) {
    const box = this.map.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button !== 0) return;
    this.map.stage.setPointerCapture(event.pointerId);
    const point = this.at(event);
    this.pointers.set(event.pointerId, point);
    this.start = { point, moved: false };
    const drawing = this.pointers.size === 1 && (this.mode === "lasso" || event.shiftKey);
    this.map.lasso = drawing ? [point] : null;
  }

  move(event) {
    const point = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (before === undefined) {
      this.map.hoverAt(...point);
      return;
    }
    if (distance(point, this.start.point) > CLICK_SLACK) this.start.moved = true;
    if (this.pointers.size === 2) {
      this.pinch(event.pointerId, before, point);
    } else if (this.map.lasso !== null) {
      if (distance(point, this.map.lasso.at(-1)) >= LASSO_STEP) {
        this.map.lasso.push(point);
        this.map.drawOverlay();
      }
      return;
    } else if (this.start.moved) {
      this.map.panBy(point[0] - before[0], point[1] - before[1]);
    } else {
      return; // not yet a drag: keep the point where it was pressed
    }
    this.pointers.set(event.pointerId, point);
  }

  pinch(id, before, point) {
    this.map.lasso = null;
    this.start.moved = true;
    const other = [...this.pointers].find(([key]) => key !== id)[1];
    const middle = [(point[0] + other[0]) / 2, (point[1] + other[1]) / 2];
    this.map.panBy((point[0] - before[0]) / 2, (point[1] - before[1]) / 2);
    this.map.zoomBy(distance(point, other) / Math.max(1, distance(before, other)), ...middle);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const corners = this.map.lasso;
    this.map.lasso = null;
    if (!this.start.moved) {
      const row = this.map.rowAt(...this.map.dataAt(...this.at(event)));
      this.state.pin(row);
      if (row >= 0) this.actions.announce(row);
    } else if (corners !== null) {
      if (corners.length > 2) this.actions.lasso(corners.map((corner) => this.map.dataAt(...corner)));
      this.map.drawOverlay();
    }
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.map.lasso = null;
    this.map.drawOverlay();
  }

  /**
   * The wheel zooms a map that has the focus (one click gives it), or with Ctrl, as a pinch on
   * a touch pad does; else it scrolls the page, which a map this large must not swallow.
   */
  wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.map.stage) {
      this.hint();
      return;
    }
    event.preventDefault();
    const notch = event.deltaMode === 1 ? 16 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    this.map.zoomBy(Math.exp(-event.deltaY * notch * speed), ...this.at(event));
  }

  hint() {
    const node = byId("stage-hint");
    node.textContent = this.language.say("page.maps.wheelHint");
    node.hidden = false;
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => (node.hidden = true), 1200);
  }

  key(event) {
    const direction = ARROWS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (direction !== undefined) {
      const middle = this.map.dataAt(this.map.size.width / 2, this.map.size.height / 2);
      const next =
        this.state.focused < 0
          ? this.map.picker.nearest(...middle, 2 * DATA_SPAN)
          : this.map.picker.towards(this.state.focused, ...direction);
      if (next >= 0) {
        this.state.pin(next);
        this.actions.announce(next);
      }
    } else if (event.key === "Enter" && this.state.focused >= 0) {
      this.actions.selectClassOf(this.state.focused);
    } else if (event.key === "Escape") {
      this.state.pin(-1);
      this.state.clear();
    } else if (event.key === "+" || event.key === "=") {
      this.map.zoomBy(1.3);
    } else if (event.key === "-") {
      this.map.zoomBy(1 / 1.3);
    } else if (event.key === "0") {
      this.map.reset();
    } else {
      return;
    }
    event.preventDefault();
  }
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

// The vertical axis of a chart: its range and its ticks, linear or logarithmic.

const AIR = 0.06; // of the range, left free above and below the values
const MOST_TICKS = 8;

// From the densest to the sparsest ticks within a decade; the first that is not too many is taken.
const MANTISSAS = [[1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9], [1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]];

/**
 * The range of `values` ([value, reach of its error bar] each). A linear axis whose values come
 * near zero begins there; on a logarithmic one a bar that reaches zero or less ends at the edge.
 */
function valueRange(values, scale) {
  const log = scale === "log";
  let low = Infinity;
  let high = -Infinity;
  for (const [value, reach] of values) {
    low = Math.min(low, log && value - reach <= 0 ? value : value - reach);
    high = Math.max(high, value + reach);
  }
  if (low > high) return log ? [1, 10] : [0, 1];
  if (log) {
    const air = Math.max(1.05, (high / low) ** AIR);
    return [low / air, high * air];
  }
  if (low > 0 && low < 0.25 * high) low = 0;
  const air = AIR * (high - low || Math.abs(high) || 1);
  return [low === 0 ? 0 : low - air, high + air];
}

/** Ticks of a logarithmic axis: 1, 2 and 5 of each decade, more or fewer where the range asks. */
function logTicks(low, high) {
  let ticks = [];
  for (const mantissas of MANTISSAS) {
    ticks = decadeTicks(low, high, mantissas);
    if (ticks.length <= MOST_TICKS) break;
  }
  // Within a small part of a decade the ticks of a linear axis lie better.
  if (ticks.length < 3) return linearTicks(low, high);
  const stride = Math.ceil(ticks.length / MOST_TICKS);
  return ticks.filter((_, index) => index % stride === 0);
}

function decadeTicks(low, high, mantissas) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const mantissa of mantissas) {
      const tick = Number(`${mantissa}e${power}`); // 3e-1, not 0.30000000000000004
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}

function linearTicks(low, high) {
  const rough = (high - low) / 5;
  const power = Math.floor(Math.log10(rough));
  const mantissa = [1, 2, 5, 10].find((one) => one * 10 ** power >= rough);
  const step = mantissa * 10 ** power;
  const ticks = [];
  for (let count = Math.ceil(low / step); count * step <= high; count++) {
    ticks.push(Number((count * step).toPrecision(12)));
  }
  return ticks;
}

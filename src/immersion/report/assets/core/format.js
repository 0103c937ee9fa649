// One way to write a number, everywhere on the page.

/** Decimals that show `error` to two significant digits, at most 6. */
function decimalsFor(error) {
  if (!(error > 0)) return null;
  return Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(error))));
}

/** "13.10" for a value with standard error 0.21; three significant digits without one. */
function formatValue(language, value, error = null) {
  if (value === null) return "–";
  const decimals = decimalsFor(error);
  const digits =
    decimals === null
      ? { maximumSignificantDigits: 3 }
      : { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return language.number(value, digits).replace("-", "−");
}

/** "13.10 ± 0.21"; a value without an error, or an exact one, stands alone. */
function formatMeasured(language, value, error) {
  if (value === null) return language.say("page.value.none");
  const shown = formatValue(language, value, error);
  return error === null || error === 0 ? shown : `${shown} ± ${formatValue(language, error, error)}`;
}

/** A long name with its middle left out: the ends tell layers apart. */
function abbreviate(text, length) {
  const characters = [...text];
  if (characters.length <= length) return text;
  const tail = Math.ceil((length - 1) * 0.6);
  const head = length - 1 - tail;
  return `${characters.slice(0, head).join("")}…${characters.slice(-tail).join("")}`;
}

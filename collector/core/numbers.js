// Numbers as people and scripts write them. tests/number_cases.py lists cases; the webhook reads the same notations.

const THOUSANDS = /^-?[1-9]\d{0,2}(,\d{3})+$|\..*\.\d+$/; // 1,990 and 1.990.000, but not 1.990

/**
 * Returns the number in the text, or undefined if there is none: "1 990,50 €" is 1990.5. Of several different
 * separators, the last one is the decimal point.
 */
export const numberOf = (text) => {
  const [found] = /-?\d[\d\s.,'’]*/.exec(text) || [];
  if (!found) return undefined;
  const digits = found.replace(/[\s'’]/g, '');
  return parseFloat(digits.replace(THOUSANDS.test(digits) ? /[.,]/g : /[.,](?=.*[.,])/g, '').replace(',', '.'));
};

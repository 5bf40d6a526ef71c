// The shop: what visitors do in Tilda's catalogue, cart and order form. `demo/page/tilda.js` shows what Tilda's scripts
// call and keep, and names the functions.

import { listen } from '../core/consent.js';
import { attribute } from '../core/elements.js';
import { later, safely } from '../core/environment.js';
import { numberOf } from '../core/numbers.js';
import { beforeRecord, record } from '../core/pages.js';
import { describe } from './forms.js';
import { whenReported } from './tilda.js';

let before; // the cart before the event that the page is handling
let form; // the form that Tilda sent last
let paid; // the number of the last order

/** Returns the item of a product. Tilda's cart escapes quotes in names for HTML. */
const itemOf = ({ id, name = '', price, quantity, sku, uid }) => ({
  id: sku || uid || id,
  sku,
  uid,
  name: name.replace(/&quot;/g, '"').replace(/&#039;/g, "'"),
  price: numberOf(price),
  quantity: Math.abs(quantity) || 1,
});

/** Returns the currency of the page as Tilda's statistics do. */
const currency = () =>
  ['data-tilda-currency', 'data-project-currency-code']
    .map((name) => attribute(document.querySelector(`[${name}]`), name))
    .find(Boolean);

/** Records products of Tilda's with an amount, by default their sum (added in cents, so that it is exact). */
const note = (type, products, amount) => {
  const items = products.map(itemOf);
  const cents = items.reduce((sum, { price, quantity }) => sum + price * quantity * 100, 0);
  if (items[0]) record(type, { order: { amount: amount || Math.round(cents) / 100, currency: currency(), items } });
};

/**
 * Adds the quantities in Tilda's cart, times `sign`, to `sums`: products by what tells them apart. Tilda keeps a removed
 * product for four seconds, marked as deleted.
 */
const addCart = (sums, sign) => {
  for (const product of window.tcart.products) {
    const { deleted, name, options, quantity, sku, uid } = product;
    const key = JSON.stringify([uid, sku, name, options]);
    const sum = sums[key] ? sums[key].quantity : 0;
    if (quantity > 0 && !deleted) sums[key] = { ...product, quantity: sum + sign * quantity };
  }
  return sums;
};

/**
 * Compares the cart before and after the page has handled an event. Tilda reports no removals and no quantities, and
 * additions only if the shop has switched that on.
 */
const watchCart = ({ isTrusted }) => {
  if (before || !isTrusted || !window.tcart) return;
  before = addCart({}, -1);
  later(() => {
    const sums = before;
    before = 0;
    const changes = Object.values(addCart(sums, 1));
    note(
      'add_to_cart',
      changes.filter(({ quantity }) => quantity > 0),
    );
    note(
      'remove_from_cart',
      changes.filter(({ quantity }) => quantity < 0),
    );
  });
};

/** Records an order. With a payment widget the cart is empty by then, but Tilda's `tildaForm` still holds the order. */
const onPayment = (price) => {
  const { arProductsForStat, currencyForStat, orderIdForStat, tildapayment } = window.tildaForm || {};
  const [id] = /[^:]+$/.exec(orderIdForStat || '') || []; // payment systems know an order as "project:order"
  if (id && id === paid) return;
  paid = id;
  record('purchase', {
    form: form && describe(form),
    order: {
      id,
      amount: numberOf(price),
      currency: currencyForStat || currency(),
      promocode: (tildapayment || {}).promocode,
      items: (arProductsForStat || []).filter((product) => product.id !== 'delivery').map(itemOf),
    },
  });
};

const onReport = (address, title, details, price) => {
  const { detail } = (details || {}).ecommerce || {};
  if (detail) note('product_view', detail.products);
  // A form with an event name of its own reports an order under this name. Buttons have no price.
  if (/\/payment\//.test(address) || (price > 0 && /^Order \d/.test(title) && !/^\/tilda\//.test(address)))
    onPayment(price);
};

export const install = () => {
  listen('click focusout', watchCart);
  listen('tildaform:beforesend', ({ target }) => {
    form = target;
  });
  beforeRecord.push(({ event_type }, begun) => {
    if (event_type === 'form_start' && attribute(begun, 'data-formcart'))
      note('checkout_start', Object.values(addCart({}, 1)), window.tcart.amount);
  });
  whenReported.push(onReport);
  // Product views before consent: Tilda has pushed them to the data layer.
  Array.from(window.dataLayer || []).forEach(
    safely((entry) => entry.event === 'viewProduct' && onReport('', '', entry)),
  );
};

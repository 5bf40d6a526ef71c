// The shop: products put into Tilda's cart, and payments.

import { attribute } from '../core/elements.js';
import { numberOf } from '../core/environment.js';
import { record } from '../core/pages.js';
import { whenReported } from './tilda.js';

const currency = () => attribute(document.querySelector('[data-project-currency-code]'), 'data-project-currency-code');

const itemOf = ({ name, sku, price, quantity }) => ({
  name,
  sku,
  price: numberOf(price),
  quantity: numberOf(quantity) || 1,
});

const onReport = (address, title, product, price) => {
  const amount = numberOf(price);
  if (/\/cart\/add\//.test(address)) {
    const items = [itemOf({ name: product || title, price })];
    record('add_to_cart', { order: { amount, currency: currency(), items } });
  } else if (/\/payment\//.test(address)) {
    const { products = [] } = window.tcart || {};
    const [, id] = /Order\s+(\S+)/.exec(title) || [];
    record('purchase', { order: { id, amount, currency: currency(), items: products.map(itemOf) } });
  }
};

export const install = () => whenReported.push(onReport);

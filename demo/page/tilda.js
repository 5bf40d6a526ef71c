/**
 * Simulates Tilda's scripts on the demo page and in the browser tests: statistics, forms, cart, catalogue and popups.
 *
 * The code is our own. The calls, their order and arguments, and the events follow the scripts that Tilda publishes
 * (static.tildacdn.com/js/, read as of June 2026; tilda-forms-payments as of May 2025). Each function names the file
 * and the function that it follows. Everything that does not show outside of a script is left out.
 */
(function () {
  'use strict';

  const REDIRECT_DELAY = 500; // ms; tilda-forms-1.0: t_forms__handleRedirect
  const WIDGET_REDIRECT_DELAY = 300; // ms; tilda-forms-payments-1.0: paysystemSuccess
  const PRODUCT_PAGE_DELAY = 3000; // ms; tilda-catalog-1.1: t_store_productInit sends the product view

  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /** tilda-scripts-3.0: t_triggerEvent. The event bubbles and is not trusted. */
  const trigger = (element, name) => {
    const event = document.createEvent('HTMLEvents');
    event.initEvent(name, true, false);
    element.dispatchEvent(event);
  };

  // ---- tilda-events-1.0 ----

  const Tilda = (window.Tilda = window.Tilda || {});

  const currencyCode = () =>
    one('#allrecords').getAttribute('data-tilda-currency') ||
    (one('.t706') && one('.t706').getAttribute('data-project-currency-code')) ||
    '';

  /** tilda-events-1.0: Tilda.sendEcommerceEvent. The quantity is always 1, and a SKU that is not a number is left out. */
  Tilda.sendEcommerceEvent = (type, products) => {
    let title = '';
    let price = 0;
    let last = {};
    const sent = products.map((product) => {
      title += (title ? ', ' : '') + product.name;
      price += product.price; // a text is appended: 0 + "990" is "0990"
      let variant = '';
      (product.options || []).forEach((chosen) => {
        variant += `${chosen.option}: ${chosen.variant}; `;
      });
      const copy = { name: product.name, price: product.price, variant, quantity: 1 };
      ['id', 'uid', 'recid', 'lid', 'sku'].forEach((field) => {
        if (product[field] > 0) copy[field] = product[field];
      });
      last = { ...last, ...copy };
      return copy;
    });
    let page = `/tilda/rec${last.recid || ''}/payment/`;
    if (type === 'add' || type === 'remove') {
      page = `/tilda/cart/${type}/${last.recid || ''}`;
      if (last.uid) page += `-u${last.uid}`;
      else if (last.lid) page += `-${last.lid}`;
    }
    if (type === 'detail') page = `/tilda/product/detail/${last.uid ? `${last.uid}/` : `r${last.recid}-l${last.lid}`}`;
    Tilda.sendEventToStatistics(page, title, { ecommerce: { [type]: { products: sent } } }, price);
  };

  const EVENT_NAMES = { add: 'addToCart', remove: 'removeFromCart', detail: 'viewProduct' };

  /** tilda-events-1.0: Tilda.sendEventToStatistics. What it tells other trackers is left out. */
  Tilda.sendEventToStatistics = (page, title, referer, price) => {
    const stat = window.tildaForm || {};
    const amount = price ? parseFloat(price) : 0;
    let details = referer || window.location.href;
    if (amount > 0) {
      window.dataLayer = window.dataLayer || [];
      if (page.includes('/tilda/') && page.includes('/payment/') && stat.orderIdForStat > '') {
        const actionField = { id: stat.orderIdForStat, revenue: stat.amountForStat };
        if (stat.tildapayment && stat.tildapayment.promocode) actionField.coupon = stat.tildapayment.promocode;
        details = { event: 'purchase', ecommerce: { purchase: { actionField, products: stat.arProductsForStat } } };
      } else if (details.ecommerce) {
        const [type] = Object.keys(details.ecommerce);
        details.ecommerce[type].products.forEach((product) => {
          product.id = product.id || product.uid || product.sku || `${product.recid}_${product.lid}`;
        });
        details.event = EVENT_NAMES[type];
      }
    }
    if (!window.dataLayer) return;
    if (details.ecommerce) window.dataLayer.push(details);
    else if (page.startsWith('/')) {
      window.dataLayer.push({ event: 'pageView', eventAction: page, title, value: amount, product: details });
    } else window.dataLayer.push({ event: page, eventAction: title, value: amount, referer: details });
  };

  /** tilda-events-1.0: the click listener of each block, for buttons whose statistics are switched on. */
  const onButton = (button) => {
    const page = button.getAttribute('data-tilda-event-name');
    const address = `/tilda/click/${button.closest('.r').id}/?url=${button.getAttribute('href') || ''}`;
    Tilda.sendEventToStatistics(page || address, button.textContent);
  };

  // ---- tilda-cart-1.1 ----

  const round = (amount) => parseFloat(parseFloat(amount || 0).toFixed(2));

  /** tilda-cart-1.1: tcart__cleanPrice. The first comma becomes a point. */
  const cleanPrice = (text) => Math.max(round(String(text).replace(',', '.').replace(/[^0-9.]/g, '')) || 0, 0);

  /** tilda-cart-1.1: tcart__escapeHtml */
  const escapeHtml = (text) =>
    text.replace(/[<>"']/g, (sign) => ({ '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#039;' })[sign]);

  const isListed = (product) => Object.keys(product).length > 0 && product.deleted !== 'yes';

  /** tilda-cart-1.1: tcart__updateTotalProductsinCartObj */
  const updateTotals = () => {
    const { tcart } = window;
    const listed = tcart.products.filter(isListed);
    tcart.total = listed.reduce((sum, product) => sum + 1 * product.quantity, 0);
    tcart.prodamount = round(listed.reduce((sum, product) => sum + 1 * product.amount, 0));
    let { prodamount: amount } = tcart;
    if (tcart.promocode) {
      tcart.prodamount_discountsum = round((amount * tcart.promocode.discountpercent) / 100);
      tcart.prodamount_withdiscount = round(amount - tcart.prodamount_discountsum);
      amount = tcart.prodamount_withdiscount;
    }
    if (tcart.delivery && tcart.delivery.price > 0) amount += 1 * tcart.delivery.price;
    tcart.amount = round(amount);
  };

  /** tilda-cart-1.1: tcart__saveLocalObj */
  const save = () => localStorage.setItem('tcart', JSON.stringify(window.tcart));

  /** tilda-cart-1.1: tcart__loadLocalObj. The cart lives on in localStorage. */
  const load = () => {
    const stored = JSON.parse(localStorage.getItem('tcart') || 'null');
    window.tcart = stored || { products: [], prodamount: 0, amount: 0, system: '' };
    window.tcart.products = window.tcart.products.filter(isListed);
    updateTotals();
  };
  window.tcart__loadLocalObj = load;

  const line = (product, index) =>
    `<div class="t706__product" data-cart-product-i="${index}">
      <span class="t706__product-title">${product.name}</span>
      <span class="t706__product-minus">−</span>
      <span class="t706__product-quantity">${product.quantity}</span>
      <span class="t706__product-plus">+</span>
      <span class="t706__product-amount">${product.amount}</span>
      <span class="t706__product-del">×</span>
    </div>`;

  /** tilda-cart-1.1: tcart__reDrawProducts, tcart__reDrawTotal, tcart__reDrawCartIcon */
  const redraw = () => {
    const { tcart } = window;
    one('.t706__cartwin-products').innerHTML = tcart.products
      .map((product, index) => (isListed(product) ? line(product, index) : ''))
      .join('');
    one('.t706__cartwin-totalamount').textContent = tcart.amount;
    one('.t706__carticon-counter').textContent = tcart.total || '';
    one('.t706__carticon').hidden = !tcart.total;
  };

  const changed = () => {
    updateTotals();
    save();
    redraw();
  };

  const isSame = (first, second) =>
    first.name === second.name &&
    first.price === second.price &&
    first.sku === second.sku &&
    JSON.stringify(first.options) === JSON.stringify(second.options);

  /** tilda-cart-1.1: tcart__addProduct */
  window.tcart__addProduct = (product) => {
    const known = window.tcart.products.filter(isListed).find((other) => isSame(other, product));
    if (known) {
      known.quantity = known.quantity + (product.quantity || 1);
      known.amount = round(known.price * known.quantity);
    } else {
      product.quantity = product.quantity || 1;
      product.amount = round(product.price * product.quantity);
      product.ts = Math.floor(Date.now() / 1000);
      window.tcart.products.push(product);
    }
    changed();
    if (one('.t706').getAttribute('data-opencart-onorder') === 'yes') setTimeout(openCart, 10);
  };

  /** tilda-cart-1.1: the listener of links to #order and #order:name=price (tcart__addEvent__links) */
  const onOrderLink = (link) => {
    if (link.getAttribute('data-dbclk-prevent') === 'yes') return;
    link.setAttribute('data-dbclk-prevent', 'yes');
    setTimeout(() => link.removeAttribute('data-dbclk-prevent'), 1000);
    const [, name, price] = /^#order:([^=]+)=(.+)$/.exec(decodeURI(link.getAttribute('href'))) || [];
    const shown = link.closest('.js-product');
    const text = (selector) => (shown && one(selector, shown) ? one(selector, shown).textContent.trim() : '');
    const data = (field) => (shown && shown.getAttribute(`data-product-${field}`)) || '';
    const product = {
      name: escapeHtml(name || text('.js-product-name')),
      price: cleanPrice(price || text('.js-product-price')),
      img: data('img'),
      recid: link.closest('.r').id.replace('rec', ''),
      lid: data('lid'),
      pack_label: '',
      part_uids: [''],
      gen_uid: data('gen-uid'),
      url: window.location.href.replace(/#.*/, ''),
    };
    const options = all('.js-product-option', shown || link).map((option) => ({
      option: one('.js-product-option-name', option).textContent,
      variant: one('select', option).value,
      price: cleanPrice(one('option:checked', option).getAttribute('data-product-variant-price') || ''),
    }));
    if (options.length) product.options = options;
    if (text('.js-product-sku')) product.sku = text('.js-product-sku');
    if (data('uid')) product.uid = data('uid');
    const input = shown && one('.t-store__prod__quantity-input', shown);
    if (input && parseInt(input.value, 10) > 0) {
      product.quantity = parseInt(input.value, 10);
      input.value = 1;
      trigger(input, 'change');
    }
    window.tcart__addProduct(product);
    // Off by default: a setting of the cart block, data-cart-sendevent-onadd="y"
    if (window.tcart_sendevent_onadd === 'y') Tilda.sendEcommerceEvent('add', [product]);
  };

  const indexOf = (element) => element.closest('.t706__product').getAttribute('data-cart-product-i');

  const setQuantity = (index, quantity) => {
    const product = window.tcart.products[index];
    product.quantity = quantity;
    product.amount = round(product.price * quantity);
  };

  /** tilda-cart-1.1: tcart__product__del. The product stays marked for four seconds, in which "undo" brings it back. */
  const remove = (index) => {
    const { tcart } = window;
    const product = tcart.products[index];
    product.deleted = 'yes';
    changed();
    const box = document.createElement('div');
    box.className = 't706__product-deleted';
    box.innerHTML = '<span class="t706__product-deleted__timer__return">Undo</span>';
    one('.t706__cartwin-products').append(box);
    const timer = setTimeout(() => {
      if (product.deleted !== 'yes') return;
      tcart.products[index] = {};
      if (tcart.products.every((other) => !isListed(other))) tcart.products = [];
      box.remove();
      save();
    }, 4000);
    box.firstChild.addEventListener('click', () => {
      clearTimeout(timer);
      delete product.deleted;
      if (product.quantity === 0) setQuantity(index, 1); // tcart__product__plus
      changed();
    });
  };

  /** tilda-cart-1.1: tcart__addEvents__forProducts. Nothing tells the statistics of a changed quantity or a removal. */
  const onCartClick = (target) => {
    const button = target.closest('[class^=t706__product-]');
    if (!button || !button.closest('.t706__product')) return;
    const index = indexOf(button);
    const { quantity } = window.tcart.products[index];
    if (button.matches('.t706__product-plus')) setQuantity(index, quantity + 1);
    else if (button.matches('.t706__product-minus')) setQuantity(index, quantity - 1);
    else if (button.matches('.t706__product-quantity')) return editQuantity(button, index);
    if (button.matches('.t706__product-del') || window.tcart.products[index].quantity === 0) remove(index);
    else changed();
  };

  /** tilda-cart-1.1: tcart__product__editquantity. The quantity counts when the field loses the focus. */
  const editQuantity = (cell, index) => {
    if (one('input', cell)) return;
    const before = parseInt(cell.textContent, 10);
    cell.innerHTML = `<input type="text" name="tilda-tmp-cart-qnt" value="${before}">`;
    const input = cell.firstChild;
    input.focus();
    input.addEventListener('focusout', () => {
      setQuantity(index, Math.max(parseInt(input.value, 10) || 1, 1));
      changed();
    });
  };

  /** tilda-cart-1.1: tcart__openCart. No statistics. */
  const openCart = () => {
    trigger(document.body, 'popupShowed');
    document.body.classList.add('t706__body_cartwinshowed');
    one('.t706__cartwin').classList.add('t706__cartwin_showed');
    redraw();
  };
  window.tcart__openCart = openCart;

  /** tilda-cart-1.1: tcart__closeCart. After an order the page reloads. */
  const closeCart = () => {
    trigger(document.body, 'popupHidden');
    document.body.classList.remove('t706__body_cartwinshowed');
    one('.t706__cartwin').classList.remove('t706__cartwin_showed');
    if (window.tcart_success === 'yes') window.location.reload();
  };

  /**
   * tilda-cart-1.1: tcart__addEvent__selectpayment. Selects the payment system with an event of its own, when the cart is
   * drawn: on loading, and when a window changes to or from the width of a phone.
   */
  const watchPaymentSystems = (window.tcart__addEvent__selectpayment = () => {
    all('.t706 .t-radio__wrapper-payment input').forEach((radio) => {
      radio.addEventListener('change', () => {
        window.tcart.system = one('.t-radio__wrapper-payment input:checked').getAttribute('data-payment-variant-system');
      });
    });
    const checked = one('.t706 .t-radio__wrapper-payment input:checked');
    if (checked) trigger(checked, 'change');
  });

  /** tilda-cart-promocode-1.0: the button "Apply" of the promotional code */
  window.t_input_promocode__activate = (promocode, discountpercent) => {
    window.tcart.promocode = { promocode, discountpercent };
    changed();
  };

  /** tilda-cart-1.1: tcart__init */
  const initCart = () => {
    if (!one('.t706')) return;
    window.tcart_sendevent_onadd = one('.t706').getAttribute('data-cart-sendevent-onadd') || undefined;
    one('.t706__orderform form').setAttribute('data-formcart', 'y'); // tcart__addEvents
    load();
    redraw();
    setTimeout(() => {
      watchPaymentSystems();
      const link = window.location.hash.startsWith('#order:') && one(`a[href="${window.location.hash}"]`);
      if (link) link.click();
    });
  };

  // ---- tilda-forms-payments-1.0 ----

  const tildaForm = (window.tildaForm = {});

  /** tilda-forms-payments-1.0: tildaForm.addPaymentInfoToForm. What it sets stays until the next order. */
  tildaForm.addPaymentInfoToForm = () => {
    const { tcart } = window;
    const currency = currencyCode();
    tcart.products = tcart.products.filter(isListed);
    const payment = { currency, amount: tcart.amount, system: tcart.system || 'auto', products: tcart.products };
    if (tcart.promocode) {
      payment.promocode = tcart.promocode.promocode;
      payment.discount = tcart.prodamount_discountsum;
    }
    tildaForm.tildapayment = payment;
    tildaForm.orderIdForStat = '';
    tildaForm.amountForStat = tcart.amount;
    tildaForm.currencyForStat = currency;
    tildaForm.arProductsForStat = tcart.products.map((product) => {
      const chosen = (product.options || []).map(({ option, variant }) => `${option}:${variant}`).join(', ');
      return {
        id: product.sku || product.uid,
        name: product.name + (chosen ? `(${chosen})` : ''),
        price: product.price,
        quantity: parseInt(product.amount / product.price, 10),
        ...(product.sku && { sku: product.sku }),
        ...(product.uid && { uid: product.uid }),
      };
    });
    if (tcart.delivery && tcart.delivery.price >= 0) {
      payment.delivery = { name: tcart.delivery.name, price: tcart.delivery.price };
      const { name, price } = tcart.delivery;
      tildaForm.arProductsForStat.push({ name, price, quantity: 1, id: 'delivery' });
    }
  };

  /** tilda-forms-payments-1.0: tildaForm.paysystemSuccess, after payment in a widget. The cart is empty already. */
  tildaForm.paysystemSuccess = (form, args) => {
    tildaForm.clearTCart(form);
    if (!currencyCode()) one('#allrecords').setAttribute('data-tilda-currency', args.currency);
    Tilda.sendEventToStatistics(`/tilda/${form.id}/payment/`, `Pay order in form ${form.id}`, args.description, args.amount);
    finishPayment(form, args);
  };

  /** tilda-forms-payments-1.0: tildaForm.cloudpaymentPay. The widget's number of the order replaces Tilda's. */
  tildaForm.cloudpaymentPay = (form, args) => {
    tildaForm.orderIdForStat = args.invoiceId;
    setTimeout(() => {
      one('#allrecords').setAttribute('data-tilda-currency', args.currency);
      const title = `Pay order in form ${form.id}`;
      Tilda.sendEventToStatistics(`/tilda/${form.id}/payment/`, title, args.description, args.amount);
      tildaForm.clearTCart(form);
      finishPayment(form, args);
    }, 200);
  };

  const finishPayment = (form, args) => {
    if (args.successurl) {
      setTimeout(() => {
        window.location.href = args.successurl;
      }, WIDGET_REDIRECT_DELAY);
    }
    tildaForm.successEnd(form, args.successurl);
    trigger(form, 'tildaform:aftersuccess'); // a second time for this order
  };

  /** tilda-forms-payments-1.0: tildaForm.payment */
  tildaForm.payment = (form, next) => {
    if (next.type === 'link') {
      tildaForm.clearTCart(form);
      window.location.href = next.value;
    } else if (next.value.sysname === 'cloudpayments') tildaForm.cloudpaymentPay(form, next.value.args);
    else setTimeout(() => tildaForm.paysystemSuccess(form, next.value.args), 200); // the visitor pays in the widget
  };

  // ---- tilda-forms-1.0 ----

  /** tilda-forms-1.0: tildaForm.clearTCart */
  tildaForm.clearTCart = (form) => {
    if (form.getAttribute('data-formcart') !== 'y') return;
    localStorage.removeItem('tcart');
    delete window.tcart;
    load();
    redraw();
    window.tcart_success = 'yes';
  };

  /** tilda-forms-1.0: tildaForm.successEnd. Clears the form a moment later, because the box shows asynchronously. */
  tildaForm.successEnd = (form, successUrl) => {
    Promise.resolve()
      .finally(() => {
        one('.js-successbox', form).hidden = false;
      })
      .finally(() => {
        if (successUrl) {
          setTimeout(() => {
            window.location.href = successUrl;
          }, REDIRECT_DELAY);
        }
        tildaForm.clearTCart(form);
        all('input[type=text], input[type=email], input[type=tel], textarea', form).forEach((input) => {
          input.value = '';
        });
        form.tildaTranId = '0';
        form.tildaOrderId = '0';
      });
  };

  /** tilda-forms-1.0: the answer to tildaForm.send, e.g. {message: "OK", results: ["project:transaction:order"], next} */
  const onAnswer = (form, answer) => {
    if (answer.error) return trigger(form, 'tildaform:aftererror');
    const [project, transaction, order] = answer.results ? answer.results[0].split(':') : [];
    form.tildaTranId = project ? `${project}:${transaction}` : '0';
    form.tildaOrderId = order || '0';
    if (order) tildaForm.orderIdForStat = order;
    const isCart = form.getAttribute('data-formcart') === 'y';
    const isPaidLater = answer.next && answer.next.type === 'function';
    const page = `/tilda/${form.id}/${isCart && !isPaidLater ? 'payment' : 'submitted'}/`;
    const price = (tildaForm.tildapayment && tildaForm.tildapayment.amount) || 0;
    const title = price > 0 ? `Order ${form.tildaOrderId}` : `Send data from form ${form.id}`;
    Tilda.sendEventToStatistics(form.getAttribute('data-tilda-event-name') || page, title, '', price);
    trigger(form, 'tildaform:aftersuccess');
    if (answer.next) tildaForm.payment(form, answer.next);
    else tildaForm.successEnd(form, form.getAttribute('data-success-url'));
  };

  /** tilda-forms-1.0: tildaForm.send */
  tildaForm.send = (form) => {
    tildaForm.tildapayment = false;
    const data = new URLSearchParams(new FormData(form));
    if (form.getAttribute('data-formcart') === 'y') {
      tildaForm.addPaymentInfoToForm(form);
      data.set('tildapayment', JSON.stringify(tildaForm.tildapayment));
    }
    trigger(form, 'tildaform:beforesend');
    const request = new XMLHttpRequest();
    request.open('POST', form.action); // Tilda's own: https://forms.tildacdn.com/procces/
    request.onload = () =>
      request.status < 400 ? onAnswer(form, JSON.parse(request.responseText)) : trigger(form, 'tildaform:aftererror');
    request.onerror = () => trigger(form, 'tildaform:aftererror');
    request.send(data);
  };

  // ---- tilda-popup-1.0 and tilda-catalog-1.1 ----

  /** Blocks with a popup (t702_showPopup and its like): the title is the link. */
  const openPopup = (link) => {
    const popup = one(`.t-popup[data-tooltip-hook="${link}"]`);
    popup.hidden = false;
    const track = popup.getAttribute('data-track-popup');
    if (track) Tilda.sendEventToStatistics(track, link);
  };

  const detailOf = (shown) => ({
    id: shown.getAttribute('data-product-uid'),
    uid: shown.getAttribute('data-product-uid'),
    price: one('.js-product-price', shown).textContent,
    sku: one('.js-product-sku', shown) ? one('.js-product-sku', shown).textContent : '',
    name: one('.js-product-name', shown).textContent,
  });

  const viewed = {};

  /** tilda-catalog-1.1: t_store_openProductPopup. A product is reported once a page. */
  const openProductPopup = (shown) => {
    const detail = detailOf(shown);
    const popup = one('.t-popup[data-track-popup]', shown.closest('.r'));
    if (popup) popup.hidden = false;
    if (!viewed[detail.id]) Tilda.sendEcommerceEvent('detail', [detail]);
    viewed[detail.id] = true;
    const track = popup && popup.getAttribute('data-track-popup');
    if (track) Tilda.sendEventToStatistics(track, `Popup: ${detail.name}`, '', 0);
  };

  /** tilda-catalog-1.1: t_store_productInit, on a page that shows one product */
  const initProductPage = () => {
    const shown = one('.t-store__product-snippet');
    if (shown) setTimeout(() => Tilda.sendEcommerceEvent('detail', [detailOf(shown)]), PRODUCT_PAGE_DELAY);
  };

  document.addEventListener('click', (event) => {
    const within = (selector) => event.target.closest(selector);
    const submit = within('.js-form-proccess .t-submit');
    const link = within('a[href^="#order"], a[href^="#popup:"], a[href="#prodpopup"]');
    if (submit || link) event.preventDefault(); // a form of Tilda's never fires `submit`
    if (within('.js-click-stat')) onButton(within('.js-click-stat'));
    if (submit) tildaForm.send(submit.form);
    else if (within('.t706__carticon')) openCart();
    else if (within('.t706__cartwin-close')) closeCart();
    else if (within('.t706')) onCartClick(event.target);
    else if (link) {
      const href = link.getAttribute('href');
      if (href.startsWith('#order')) onOrderLink(link);
      else if (href === '#prodpopup') openProductPopup(link.closest('.js-product'));
      else openPopup(href);
    }
  });

  const init = () => {
    initCart();
    initProductPage();
  };
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', init);
  else init();
})();

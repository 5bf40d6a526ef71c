/**
 * Simulates Tilda's form, cart and popup scripts on the demo page. The order of events is that of a real Tilda page:
 *
 * 1. The click handler of the submit button prevents the default action, so no `submit` event fires.
 * 2. The form is sent by XMLHttpRequest.
 * 3. `tildaform:aftersuccess` bubbles from the form. `form.tildaTranId` is set during the event and cleared after it.
 * 4. The page redirects 500 ms later.
 */
(function () {
  'use strict';

  const REDIRECT_DELAY = 500;

  window.dataLayer = window.dataLayer || [];
  window.Tilda = {
    sendEventToStatistics(page, title, product, price) {
      window.dataLayer.push({ event: 'pageView', page, title, product, price });
    },
  };

  const announce = (form, name) => form.dispatchEvent(new CustomEvent(name, { bubbles: true }));

  function succeed(form, answer) {
    form.tildaTranId = answer.tranid;
    form.tildaOrderId = answer.orderid;
    window.Tilda.sendEventToStatistics(`/tilda/${form.id}/submitted/`, `Send data from form ${form.id}`, '', 0);
    form.querySelector('.js-successbox').hidden = false;
    announce(form, 'tildaform:aftersuccess');
    form.tildaTranId = form.tildaOrderId = null;
    const { successUrl } = form.dataset;
    if (successUrl) setTimeout(() => { window.location.href = successUrl; }, REDIRECT_DELAY);
  }

  function send(form) {
    const request = new XMLHttpRequest();
    request.open('POST', form.action);
    request.onload = () => (request.status === 200 ? succeed(form, JSON.parse(request.responseText)) : request.onerror());
    request.onerror = () => announce(form, 'tildaform:aftererror');
    request.send(new URLSearchParams(new FormData(form)));
  }

  function addToCart(product) {
    const name = product.querySelector('.js-product-name').textContent;
    const price = product.querySelector('.js-product-price').textContent;
    window.Tilda.sendEventToStatistics(`/tilda/cart/add/${product.dataset.productLid}`, name, name, price);
  }

  function openPopup(hook) {
    const popup = document.querySelector(`.t-popup[data-tooltip-hook="${hook}"]`);
    popup.hidden = false;
    window.Tilda.sendEventToStatistics(popup.dataset.trackPopup, hook);
  }

  document.addEventListener('click', (event) => {
    const submit = event.target.closest('.js-form-proccess .t-submit');
    const buy = event.target.closest('.js-product-buy');
    const popup = event.target.closest('a[href^="#popup:"]');
    if (submit || buy || popup) event.preventDefault();
    if (submit) send(submit.form);
    if (buy) addToCart(buy.closest('.js-product'));
    if (popup) openPopup(popup.getAttribute('href'));
  });
})();

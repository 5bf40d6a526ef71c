/**
 * Tilda Analytics collector: one script tag, no dependency, nothing global but `window.tildaAnalytics`.
 *
 *   <script async src="https://api.example.com/collector.js" data-site-key="…"></script>
 *
 * Three rules hold everywhere. An event is written to storage before it is sent, and removed only when the API has
 * answered 2xx, so that a page may die at any moment. `event_id` and `created_at` are fixed once, so that sending
 * twice is harmless. And no error of ours reaches the page: every way in goes through `safely`.
 *
 * The modules stand in the order in which they need each other; `README.md` describes the options and the calls.
 */
(function (window, document) {
  'use strict';

  const script = document.currentScript || document.querySelector('script[data-site-key]');
  // Before this file has loaded, `tildaAnalytics` may be an array of calls: [['track', 'signup'], …].
  const api = (window.tildaAnalytics = window.tildaAnalytics || []);
  if (!script || api.extend) return; // A second copy on the page leaves the first one alone.

  const { location, history, navigator, performance } = window;
  const options = script.dataset;
  const endpoint = (options.endpoint || new URL(script.src, location.href).origin).replace(/\/+$/, '');

  const SECOND = 1000;
  const MINUTE = 60 * SECOND;

  // ---- Ground: errors, listeners, ids, storage ----------------------------------------------------------------

  const log = (...words) => 'debug' in options && console.debug('[tilda-analytics]', ...words);

  /** The function, with its errors kept from the page. */
  const safely = (run) =>
    function (...args) {
      try {
        return run.apply(this, args);
      } catch (error) {
        log(error);
      }
    };

  /** Listens in the capture phase (a page may stop propagation) and passively (nothing here prevents a default). */
  const listen = (target, types, handler) =>
    types.split(' ').forEach((type) => target.addEventListener(type, safely(handler), { capture: true, passive: true }));

  const later = (run, milliseconds) => setTimeout(safely(run), milliseconds);

  /** The value, or what stands for it where the browser forbids the look (storage denied, a sandboxed frame). */
  const attempt = (look, otherwise) => {
    try {
      return look();
    } catch {
      return otherwise;
    }
  };

  /** A random UUID. `crypto.randomUUID` is missing on http pages. */
  const uuid = () =>
    '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
      (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16),
    );

  /** Web storage that keeps in memory, for this page, what the browser refuses to keep (denied, quota exceeded). */
  const storage = (name) => {
    const memory = new Map();
    return {
      get: (key) => (memory.has(key) ? memory.get(key) : attempt(() => window[name].getItem(key), null)),
      set(key, value) {
        memory.set(key, value);
        attempt(() => {
          window[name].setItem(key, value);
          memory.delete(key);
        });
      },
      remove(key) {
        memory.delete(key);
        attempt(() => window[name].removeItem(key));
      },
      keys: () => [...attempt(() => Object.keys(window[name]), []), ...memory.keys()],
    };
  };
  const local = storage('localStorage');
  const tab = storage('sessionStorage');

  const readCookie = (name) =>
    attempt(() => (document.cookie.match('(?:^|; )' + name + '=([^;]*)') || [])[1], undefined);

  // ---- Consent ------------------------------------------------------------------------------------------------
  // Before it nothing is stored, sent or even remembered; withdrawing it removes all that was stored.

  const CONSENT = 'analytics_consent'; // "true", "false", or "never" after optOut()
  const consentMode = options.consent || 'opt-out';
  let granted = false;

  const refused = () =>
    navigator.globalPrivacyControl || navigator.doNotTrack === '1' || local.get(CONSENT) === 'never';

  /** What Tilda's own consent block (T972) has written. */
  const tildaConsent = () =>
    readCookie('t_cookiesConsentGiven') === 'true' && /analytics/.test(readCookie('t_cookiesCategories'));

  function decideConsent() {
    const stored = local.get(CONSENT);
    if (consentMode === 'opt-out') applyConsent(stored !== 'false');
    else if (consentMode === 'opt-in') applyConsent(stored === 'true');
    else if (consentMode === 'tilda') applyConsent(tildaConsent());
    else {
      // The name of a function of the page: it answers, promises an answer, or calls back, as often as it likes.
      const answer = window[consentMode] && window[consentMode](safely(applyConsent));
      Promise.resolve(answer).then(safely((yes) => typeof yes === 'boolean' && applyConsent(yes)), log);
    }
  }

  function applyConsent(wanted) {
    wanted = !!wanted && !refused();
    if (wanted === granted) return;
    granted = wanted;
    if (granted) start();
    else forget();
  }

  /** The public call: applies the visitor's answer and remembers it where it differs from the default. */
  function consent(wanted) {
    if (local.get(CONSENT) !== 'never') {
      if (!!wanted === (consentMode === 'opt-out')) local.remove(CONSENT);
      else if (wanted ? !refused() : consentMode === 'opt-out') local.set(CONSENT, String(!!wanted));
      else local.remove(CONSENT);
    }
    applyConsent(wanted);
  }

  // ---- Identity -----------------------------------------------------------------------------------------------
  // A random UUID of this site's own, in localStorage and in a first-party cookie (which Tilda's webhook carries).
  // Without either it lives as long as the page.

  const USER_ID = 'analytics_user_id';
  const YEAR = 365 * 24 * 60 * 60;
  let userId;

  const writeCookie = (value, seconds) =>
    attempt(() => {
      document.cookie =
        `${USER_ID}=${value}; Path=/; Max-Age=${seconds}; SameSite=Lax` +
        (options.cookieDomain ? `; Domain=${options.cookieDomain}` : '') +
        (location.protocol === 'https:' ? '; Secure' : '');
    });

  function rememberUser(id) {
    userId = id;
    local.set(USER_ID, id);
    writeCookie(id, YEAR);
  }

  /** The cookie comes first: subdomains may share it, and a server may have set it for longer than Safari's 7 days. */
  const knownUser = () => [readCookie(USER_ID), local.get(USER_ID)].find((id) => /^[\w.-]{8,128}$/.test(id || ''));

  // ---- Campaign -----------------------------------------------------------------------------------------------

  const UTM = ['source', 'medium', 'campaign', 'term', 'content'];
  const CLICK_IDS = ['gclid', 'yclid', 'ymclid', 'fbclid', 'msclkid', 'vkclid', 'rb_clickid'];

  /** The campaign that the address names: {utm: {source, …}, click_ids: {gclid, …}}, or undefined. */
  function campaignOf(search) {
    const query = new URLSearchParams(search);
    const pick = (names, prefix) => {
      const found = names.filter((name) => query.get(prefix + name));
      return found.length ? Object.assign({}, ...found.map((name) => ({ [name]: query.get(prefix + name).slice(0, 200) }))) : undefined;
    };
    const campaign = { utm: pick(UTM, 'utm_'), click_ids: pick(CLICK_IDS, '') };
    return campaign.utm || campaign.click_ids ? campaign : undefined;
  }

  // ---- Session ------------------------------------------------------------------------------------------------
  // Ends after 30 minutes without activity. A new one starts as well in a new tab or window, with another campaign,
  // and with an external referrer other than the current one.

  const SESSION_ID = 'analytics_session_id';
  const SESSION = 'analytics_session';
  const IDLE = 30 * MINUTE;
  // Coming back from where one pays is no new visit. The same list as the seed `referrer_exclusions`.
  const REFERRER_EXCLUSIONS = [
    'paypal.com', 'stripe.com', 'yookassa.ru', 'yoomoney.ru', 'robokassa.ru', 'cloudpayments.ru', 'prodamus.ru',
    'tinkoff.ru', 'tbank.ru', 'sberbank.ru', 'alfabank.ru', 'vtb.ru', 'payanyway.ru', 'paykeeper.ru',
  ].concat((options.referrerExclusions || '').split(/[\s,]+/).filter(Boolean)); // prettier-ignore
  const siteDomain = (options.cookieDomain || location.hostname).replace(/^(\.|www\.)/, '');
  const isTopFrame = window.top === window;
  let session; // { id, active: time of the last activity, referrer: host, campaign, left: the page has gone }

  const within = (host, domain) => ('.' + host).endsWith('.' + domain);

  /** The host that sent the visitor here, '' when that is this site or a payment page. */
  function externalReferrer() {
    const host = attempt(() => new URL(document.referrer).hostname, '');
    return [siteDomain, ...REFERRER_EXCLUSIONS].some((domain) => within(host, domain)) ? '' : host;
  }

  function saveSession() {
    tab.set(SESSION, JSON.stringify(session));
  }

  function newSession(referrer, campaign) {
    session = { id: uuid(), active: Date.now(), referrer, campaign };
    tab.set(SESSION_ID, session.id);
    saveSession();
  }

  /** The session for a page that has just loaded. */
  function resumeSession() {
    const referrer = externalReferrer();
    const campaign = campaignOf(location.search);
    const { type } = performance.getEntriesByType('navigation')[0] || {};
    const arrived = type !== 'reload' && type !== 'back_forward';
    session = attempt(() => JSON.parse(tab.get(SESSION)));
    if (!session || session.id !== tab.get(SESSION_ID)) return newSession(referrer, campaign);
    // A window opened by a page inherits a copy of its sessionStorage. There the page that wrote it has not left.
    const copied = isTopFrame && !session.left;
    const elsewhere = arrived && referrer && referrer !== session.referrer;
    const campaigned = arrived && campaign && JSON.stringify(campaign) !== JSON.stringify(session.campaign);
    if (copied || elsewhere || campaigned || expired()) return newSession(referrer, campaign);
    session.left = undefined;
    saveSession();
  }

  const expired = () => Math.abs(Date.now() - session.active) > IDLE;

  /** Called with every event that shows a person at work. */
  function keepSession() {
    if (expired()) newSession('', undefined);
    session.active = Date.now();
    saveSession();
  }

  // ---- Device -------------------------------------------------------------------------------------------------
  // What the server cannot read from the request. User agents are parsed there.

  const viewport = () => ({ width: window.innerWidth, height: window.innerHeight });

  const pageSize = () => ({
    width: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
  });

  const device = () => ({
    language: navigator.language,
    timezone: attempt(() => Intl.DateTimeFormat().resolvedOptions().timeZone),
    screen_width: window.screen.width,
    screen_height: window.screen.height,
    pixel_ratio: window.devicePixelRatio,
    touch: navigator.maxTouchPoints > 0,
  });

  // ---- Buffer -------------------------------------------------------------------------------------------------
  // The queue is localStorage, one key an event: tabs share it without overwriting each other. Keys sort by time and
  // name their session, so that a page takes over at once what its predecessor in this tab left behind; what other
  // tabs are about to send is left to them until it looks abandoned.

  const QUEUE = 'analytics_queue:';
  const QUEUE_LIMIT = 500;
  const BATCH_EVENTS = 10;
  const BATCH_DELAY = 5 * SECOND;
  const REQUEST_BYTES = 48 * 1024; // beacons and keepalive fetches share 64 KiB
  const ABANDONED = 10 * SECOND;
  const CRITICAL = ['form_submit', 'purchase', 'signup', 'identify', 'outbound_click', 'file_download'];

  let unsent = 0; // events recorded since the last flush
  let timer;

  const sizeOf = (text) => new Blob([text]).size;

  const queuedKeys = () =>
    local
      .keys()
      .filter((key) => key.startsWith(QUEUE))
      .sort();

  /** Writes the event through to the queue and decides when to send. */
  function enqueue(event) {
    const text = JSON.stringify(event);
    if (sizeOf(text) > REQUEST_BYTES) return log('too large, dropped', event);
    local.set([QUEUE + Date.now(), event.session_id, event.event_id.slice(0, 8)].join(':'), text);
    unsent++;
    if (CRITICAL.includes(event.event_type) || document.visibilityState === 'hidden') flush(true);
    else if (unsent >= BATCH_EVENTS) flush();
    else timer = timer || later(flush, BATCH_DELAY);
  }

  /** The oldest events that fit into one request, each with its key. */
  function nextBatch() {
    const keys = queuedKeys();
    keys.splice(0, keys.length - QUEUE_LIMIT).forEach((key) => local.remove(key));
    const batch = [];
    let bytes = 100; // the envelope
    for (const key of keys) {
      const [, time, sessionId] = key.split(':');
      if (inFlight.has(key) || (sessionId !== session.id && Date.now() - time < ABANDONED)) continue;
      const text = local.get(key);
      if (!text) continue; // another tab has just delivered it
      bytes += sizeOf(text) + 1;
      if (bytes > REQUEST_BYTES) break;
      batch.push({ key, text });
    }
    return batch;
  }

  // ---- Transport ----------------------------------------------------------------------------------------------

  const RETRY_AT = 'analytics_retry_at'; // when the API has asked to be left alone until then
  const ANSWER_WITHIN = 15 * SECOND;
  const LONGEST_WAIT = 5 * MINUTE;
  const url = `${endpoint}/api/events?key=${encodeURIComponent(options.siteKey)}`;
  const survivesPage = 'keepalive' in Request.prototype;

  const inFlight = new Set();
  let failures = 0;

  /**
   * Sends what is queued. In a row: one request at a time, none while a failure is being waited out. `now` (a critical
   * event, a page that hides) does not wait for either, only for a Retry-After.
   */
  function flush(now) {
    if (!granted) return;
    clearTimeout(timer);
    timer = unsent = 0;
    const wait = local.get(RETRY_AT) - Date.now();
    if (wait > 0 && wait <= LONGEST_WAIT) return retryIn(wait);
    if (now !== true && inFlight.size) return;
    const batch = nextBatch();
    if (batch.length) send(batch);
  }

  function retryIn(milliseconds) {
    clearTimeout(timer);
    timer = later(flush, milliseconds * (1 + Math.random() / 2));
  }

  /** A string body is text/plain: no preflight. A keepalive fetch outlives the page as a beacon does, and is answered. */
  function send(batch) {
    const body = `{"sent_at":"${new Date().toISOString()}","events":[${batch.map(({ text }) => text).join()}]}`;
    if (!survivesPage && document.visibilityState === 'hidden') return navigator.sendBeacon(url, body);
    const abort = new AbortController();
    const timeout = later(() => abort.abort(), ANSWER_WITHIN);
    batch.forEach(({ key }) => inFlight.add(key));
    const settled = (handle) =>
      safely((answer) => {
        clearTimeout(timeout);
        batch.forEach(({ key }) => inFlight.delete(key));
        handle(answer);
      });
    fetch(url, { method: 'POST', body, keepalive: true, credentials: 'omit', signal: abort.signal }).then(
      settled((response) => answered(batch, response)),
      settled(() => failed()),
    );
  }

  function answered(batch, response) {
    if (response.ok) {
      if ('debug' in options) response.json().then(({ rejected }) => rejected && rejected.length && log('rejected', rejected), log);
    } else if (![400, 413, 422].includes(response.status)) {
      return failed(response);
    } else if (batch.length > 1) {
      // Too large, or one event spoils it: halve until it is found.
      const middle = batch.length >> 1;
      send(batch.slice(0, middle));
      return send(batch.slice(middle));
    } else log('refused, dropped', response.status, batch[0].text);
    failures = 0;
    batch.forEach(({ key }) => local.remove(key));
    if (queuedKeys().length) timer = timer || later(flush, nextBatch().length ? 0 : BATCH_DELAY);
  }

  /** Waits as long as the API asks for, else 1, 2, 4 … seconds, with jitter. */
  function failed(response) {
    const asked = response && response.headers.get('Retry-After');
    const wait = asked * SECOND || Date.parse(asked) - Date.now();
    if (wait > 0) local.set(RETRY_AT, Date.now() + Math.min(wait, LONGEST_WAIT));
    retryIn(Math.min(wait > 0 ? wait : 2 ** failures++ * SECOND, LONGEST_WAIT));
  }

  // ---- Events -------------------------------------------------------------------------------------------------

  const LEAVING = ['page_leave', 'form_abandon', 'web_vitals']; // neither start nor extend a session

  /** Records one event. `sections` go into its payload. */
  function record(type, sections, element) {
    if (!granted || page.excluded) return;
    if (!LEAVING.includes(type)) keepSession();
    enqueue({
      event_id: uuid(),
      event_type: type,
      created_at: new Date().toISOString(),
      session_id: session.id,
      user_id: userId,
      page_url: page.url,
      page_title: document.title.slice(0, 300),
      referrer: page.referrer,
      target_element: element && selectorOf(element),
      target_text: element && textOf(element),
      payload: { page_view_id: page.id, ...sections },
    });
  }

  // ---- Clicks -------------------------------------------------------------------------------------------------

  const INTERACTIVE = 'a,button,input,select,textarea,label,summary,[role=button],[onclick],.t-btn,.t-submit,.tn-atom';
  const UNREADABLE = 'input,select,textarea,script,style,[contenteditable],[data-private]';
  const DOWNLOAD = /\.(pdf|docx?|xlsx?|pptx?|csv|txt|rtf|epub|zip|rar|7z|gz|dmg|exe|apk|mp3|mp4|mov|avi)$/i;
  const TEXT_LENGTH = 100;

  /** A short selector that survives a reload: up from the element to the nearest id, at most four steps. */
  function selectorOf(element) {
    const steps = [];
    for (let node = element; node && node.nodeType === 1 && steps.length < 4; node = node.parentElement) {
      const id = node.getAttribute('id') || '';
      if (/^[a-z][\w-]*$/i.test(id)) {
        steps.unshift('#' + id);
        break;
      }
      const names = [...node.classList].filter((name) => /^[a-z][\w-]*$/i.test(name) && !/active|hover|focus|open|show|anim/.test(name));
      steps.unshift([node.localName, ...names.slice(0, 2)].join('.'));
    }
    return steps.join(' > ').slice(0, 300);
  }

  /** The text one would read on the element; never what was typed, `***` where it is private. */
  function textOf(element) {
    const unreadable = element.closest(UNREADABLE);
    if (unreadable) return unreadable.closest('[data-private]') ? '***' : undefined;
    if (element.childElementCount && !element.matches(INTERACTIVE)) return undefined; // half of the page
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) =>
      node.nodeType === 1 && node.matches(UNREADABLE) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT,
    );
    let text = '';
    while (text.length < TEXT_LENGTH && walker.nextNode()) {
      const { data } = walker.currentNode;
      if (data && data.trim()) text += ' ' + data.trim().replace(/\s+/g, ' ');
    }
    return text.trim().slice(0, TEXT_LENGTH) || undefined;
  }

  function onClick(event) {
    const origin = event.composedPath()[0];
    if (event.button > 1 || !origin.closest) return;
    const element = origin.closest(INTERACTIVE) || origin;
    const name = (element.closest('[data-tilda-event-name]') || element).getAttribute('data-tilda-event-name') || undefined;
    record(
      'click',
      { click: { x: Math.round(event.pageX), y: Math.round(event.pageY), button: event.button, name }, page: pageSize(), viewport: viewport() },
      element,
    );
    const link = origin.closest('a[href]');
    if (link) onLink(link);
    if (consentMode === 'tilda') later(decideConsent, 500);
  }

  function onLink(link) {
    const { protocol, hostname, pathname, href } = new URL(link.getAttribute('href'), document.baseURI);
    const details = { link: { url: href.slice(0, 2000) } };
    const isWeb = /^http/.test(protocol);
    if (isWeb && (link.hasAttribute('download') || DOWNLOAD.test(pathname))) record('file_download', details, link);
    else if (isWeb ? !within(hostname, siteDomain) : /^(mailto|tel|sms|tg|viber|whatsapp):/.test(protocol)) record('outbound_click', details, link);
  }

  // ---- Scroll -------------------------------------------------------------------------------------------------

  const SCROLL_STEP = 10; // per cent of the page between two events
  let scrollTimer;

  /** The deepest point of the page that has been on the screen, in per cent. */
  function measureScroll() {
    const depth = Math.round(((window.scrollY + window.innerHeight) / pageSize().height) * 100);
    page.depth = Math.max(page.depth, Math.min(depth, 100) || 0);
  }

  function onScroll() {
    clearTimeout(scrollTimer);
    scrollTimer = later(() => {
      measureScroll();
      if (page.depth < page.reported + SCROLL_STEP && (page.depth < 100 || page.reported === 100)) return;
      page.reported = page.depth;
      record('scroll', { scroll: { scrollPercent: page.depth }, page: pageSize(), viewport: viewport(), timing: timing() });
    }, 200);
  }

  // ---- Engagement ---------------------------------------------------------------------------------------------
  // Time counts while the page is visible and something was done with it in the last 30 seconds.

  const ATTENTION = 30 * SECOND;

  function onActivity() {
    if (!page.watched) return;
    const now = performance.now();
    page.engaged += Math.min(now - page.active, ATTENTION);
    page.active = now;
  }

  const inSeconds = (milliseconds) => Math.round(milliseconds / 100) / 10;

  /** Seconds since the page was opened, and of them those with attention. */
  const timing = () => ({ timeOnPage: inSeconds(performance.now() - page.opened), engagedTime: inSeconds(page.engaged) });

  /** Totals so far, once for each time that the page hides: on a phone the first may be the last. */
  function reportLeaving() {
    if (page.left) return;
    page.left = true;
    onActivity();
    measureScroll();
    page.watched = false;
    record('page_leave', { timing: timing(), scroll: { scrollPercent: page.depth }, page: pageSize(), viewport: viewport() });
  }

  function reportReturn() {
    page.left = false;
    page.watched = true;
    page.active = performance.now();
  }

  // ---- Forms --------------------------------------------------------------------------------------------------

  const touched = new Map(); // forms begun and not sent, each with the name of the field last touched

  function describeForm(form) {
    const title = form.querySelector('[name=tildaspec-formname]');
    return {
      id: form.getAttribute('id') || undefined,
      name: (title && title.value) || form.getAttribute('name') || undefined,
      tranid: form.tildaTranId,
    };
  }

  function onField({ target }) {
    const form = target.form;
    if (!form || target.type === 'hidden') return;
    if (!touched.has(form)) record('form_start', { form: describeForm(form) }, form);
    touched.set(form, target.name || target.id);
  }

  function onFormEnd(type, form) {
    if (!form || !form.matches || !form.matches('form')) return;
    if (type === 'form_submit') touched.delete(form);
    record(type, { form: describeForm(form) }, form);
  }

  function reportAbandoned() {
    touched.forEach((field, form) => record('form_abandon', { form: { ...describeForm(form), field } }, form));
    touched.clear();
  }

  // ---- Navigation ---------------------------------------------------------------------------------------------

  let page = {};

  const addressOf = () => ('hash' in options ? location.href : location.href.replace(/#.*/, '')).slice(0, 2000);

  function isExcluded() {
    return (options.exclude || '')
      .split(/[\s,]+/)
      .filter(Boolean)
      .some((pattern) => new RegExp('^' + pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&')).join('.*') + '$').test(location.pathname));
  }

  function openPage(referrer) {
    const now = performance.now();
    const watched = document.visibilityState === 'visible';
    page = { id: uuid(), url: addressOf(), referrer: referrer.slice(0, 2000), excluded: isExcluded(), opened: now, active: now, watched, engaged: 0, depth: 0, reported: 0 };
    record('page_view', { ...session.campaign, device: device(), viewport: viewport(), page: pageSize() });
  }

  function onAddress() {
    if (addressOf() === page.url) return;
    reportAbandoned();
    reportLeaving();
    openPage(page.url);
  }

  function onPageHide() {
    reportAbandoned();
    reportLeaving();
    if (isTopFrame) session.left = true;
    saveSession();
    flush(true);
  }

  function onPageShow({ persisted }) {
    if (!persisted) return;
    session.left = undefined;
    openPage(document.referrer);
  }

  function onVisibility() {
    if (document.visibilityState === 'visible') return reportReturn();
    reportLeaving();
    flush(true);
  }

  // ---- Start --------------------------------------------------------------------------------------------------

  let listening = false;

  function start() {
    rememberUser(knownUser() || uuid());
    resumeSession();
    openPage(document.referrer);
    if (listening) return;
    listening = true;
    listen(document, 'click auxclick', onClick);
    listen(window, 'scroll', onScroll);
    listen(document, 'pointerdown pointermove keydown wheel touchstart scroll', onActivity);
    listen(document, 'input change', onField);
    listen(document, 'submit', ({ target }) => target.matches('.js-form-proccess') || onFormEnd('form_submit', target));
    listen(document, 'tildaform:aftersuccess', ({ target }) => onFormEnd('form_submit', target));
    listen(document, 'tildaform:aftererror', ({ target }) => onFormEnd('form_error', target));
    listen(document, 'visibilitychange', onVisibility);
    listen(window, 'pagehide', onPageHide);
    listen(window, 'pageshow', onPageShow);
    listen(window, 'online', flush);
  }

  /** Consent was withdrawn: nothing that we stored stays, but the refusal itself. */
  function forget() {
    clearTimeout(timer);
    timer = unsent = 0;
    touched.clear();
    [...queuedKeys(), USER_ID, RETRY_AT].forEach(local.remove);
    [SESSION_ID, SESSION].forEach(tab.remove);
    writeCookie('', 0);
  }

  const calls = {
    track: (name, data) => record(String(name), { custom: data }),
    purchase: (order) => record('purchase', { order }),
    identify: (id, traits) => record('identify', { identity: { external_id: id, ...traits } }),
    consent,
    optOut() {
      local.set(CONSENT, 'never');
      applyConsent(false);
    },
    reset() {
      if (!granted) return;
      rememberUser(uuid());
      newSession('', undefined);
    },
    /** For the optional modules: gives them the one way to record. */
    extend: (module) => module(record),
  };

  const waiting = api.slice ? api.slice() : [];
  Object.keys(calls).forEach((name) => (api[name] = safely(calls[name])));
  api.push = ([name, ...args]) => api[name](...args);

  safely(decideConsent)();
  waiting.forEach((call) => api.push(call));
})(window, document);

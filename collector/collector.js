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

  const isDebugged = 'debug' in options;

  const log = (...words) => isDebugged && console.debug('[tilda-analytics]', ...words);

  /** What the call gives; undefined where it fails (storage denied, a sandboxed frame, an error of ours). */
  const attempt = (call) => {
    try {
      return call();
    } catch (error) {
      log(error);
    }
  };

  /** The function, with its errors kept from the page. */
  const safely = (run) => (...args) => attempt(() => run(...args));

  /**
   * Listens at the window in the capture phase: before the page, which may stop propagation, and for every target.
   * Passively: nothing here prevents a default.
   */
  const listenAlways = (types, handler) =>
    types.split(' ').forEach((type) => window.addEventListener(type, safely(handler), { capture: true, passive: true }));

  const listen = (types, handler) => listenAlways(types, (event) => granted && handler(event));

  const later = (run, milliseconds) => setTimeout(safely(run), milliseconds);

  /** A random UUID. `crypto.randomUUID` is missing on http pages. */
  const uuid = () => {
    const random = crypto.getRandomValues(new Uint8Array(36));
    return '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit, at) =>
      (digit ^ (random[at] & (15 >> (digit / 4)))).toString(16),
    );
  };

  /** Web storage that keeps in memory, for this page, what the browser refuses to keep (denied, quota exceeded). */
  const storage = (name) => {
    const memory = new Map();
    return {
      get: (key) => memory.get(key) || attempt(() => window[name].getItem(key)),
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
      keys: () => [...(attempt(() => Object.keys(window[name])) || []), ...memory.keys()],
    };
  };
  const local = storage('localStorage');
  const tab = storage('sessionStorage');

  const readCookie = (name) => attempt(() => (document.cookie.match('(?:^|; )' + name + '=([^;]*)') || [])[1]);

  const attribute = (element, name) => (element && element.getAttribute(name)) || undefined;

  /** The words of an option that lists some. */
  const listOf = (option) => (option || '').split(/[\s,]+/).filter(Boolean);

  // ---- Consent ------------------------------------------------------------------------------------------------
  // Before it nothing is stored, sent or even remembered; withdrawing it removes all that was stored.

  const CONSENT = 'analytics_consent'; // "true", "false", or "never" after optOut()
  const consentMode = options.consent || 'opt-out';
  const byDefault = consentMode === 'opt-out';
  const TILDA_ANSWER = 500; // milliseconds from a click on Tilda's block to its cookies
  let granted = false;

  const refused = () =>
    navigator.globalPrivacyControl || navigator.doNotTrack === '1' || local.get(CONSENT) === 'never';

  /** What Tilda's own consent block (T972) has written. */
  const tildaConsent = () =>
    readCookie('t_cookiesConsentGiven') === 'true' && /analytics/.test(readCookie('t_cookiesCategories'));

  const decideConsent = () => {
    if (consentMode === 'tilda') applyConsent(tildaConsent());
    else if (/^opt-/.test(consentMode)) applyConsent((local.get(CONSENT) || String(byDefault)) === 'true');
    else {
      // The name of a function of the page: it answers, promises an answer, or calls back, as often as it likes.
      const answer = window[consentMode] && window[consentMode](safely(applyConsent));
      Promise.resolve(answer).then(safely((yes) => typeof yes === 'boolean' && applyConsent(yes)), log);
    }
  };

  const applyConsent = (wanted) => {
    wanted = !!wanted && !refused();
    if (wanted === granted) return;
    granted = wanted;
    if (granted) start();
    else forget();
  };

  /** The public call: applies the visitor's answer and remembers it. No answer is stored where the default is no. */
  const consent = (wanted) => {
    applyConsent(wanted);
    if (refused()) return;
    if (granted || byDefault) local.set(CONSENT, granted);
    else local.remove(CONSENT);
  };

  // ---- Identity -----------------------------------------------------------------------------------------------
  // A random UUID of this site's own, in localStorage and in a first-party cookie (which Tilda's webhook carries).
  // Without either it lives as long as the page. With `data-server-cookie` the API, on a subdomain of the site, sets
  // the cookie: Safari keeps what a script has written for 7 days only.

  const USER_ID = 'analytics_user_id';
  const YEAR = 365 * 24 * 60 * 60;
  const serverCookie = 'serverCookie' in options;
  let userId;

  const writeCookie = (value, seconds) =>
    attempt(() => {
      document.cookie =
        `${USER_ID}=${value}; Path=/; Max-Age=${seconds}; SameSite=Lax` +
        (options.cookieDomain ? `; Domain=${options.cookieDomain}` : '') +
        (location.protocol === 'https:' ? '; Secure' : '');
    });

  const rememberUser = (id) => {
    userId = id;
    local.set(USER_ID, id);
    if (!serverCookie) writeCookie(id, YEAR);
  };

  /** The cookie comes first: subdomains may share it, and a server may have set it for longer than Safari's 7 days. */
  const knownUser = () => [readCookie(USER_ID), local.get(USER_ID)].find((id) => /^[\w.-]{8,128}$/.test(id || ''));

  // ---- Campaign -----------------------------------------------------------------------------------------------

  const UTM = /^utm_(source|medium|campaign|term|content)$/;
  const CLICK_ID = /^([gy]clid|ymclid|fbclid|msclkid|vkclid|rb_clickid)$/;

  /** What of a campaign the address names: {utm: {source, …}, click_ids: {gclid, …}}, empty when it names none. */
  const campaignOf = (search) => {
    const campaign = {};
    const note = (section, name, value) => (campaign[section] = { ...campaign[section], [name]: value.slice(0, 200) });
    new URLSearchParams(search).forEach((value, name) => {
      if (!value) return;
      if (UTM.test(name)) note('utm', name.slice(4), value);
      if (CLICK_ID.test(name)) note('click_ids', name, value);
    });
    return campaign;
  };

  // ---- Session ------------------------------------------------------------------------------------------------
  // Ends after 30 minutes without activity. A new one starts as well in a new tab or window, with another campaign,
  // and with an external referrer other than the current one.

  const SESSION_ID = 'analytics_session_id';
  const SESSION = 'analytics_session';
  const IDLE = 30 * MINUTE;
  // Coming back from where one pays is no new visit. The same list as the seed `referrer_exclusions`.
  const REFERRER_EXCLUSIONS = listOf(
    `paypal.com stripe.com yookassa.ru yoomoney.ru robokassa.ru cloudpayments.ru prodamus.ru tinkoff.ru tbank.ru
    sberbank.ru alfabank.ru vtb.ru payanyway.ru paykeeper.ru ${options.referrerExclusions || ''}`,
  );
  const siteDomain = (options.cookieDomain || location.hostname).replace(/^(\.|www\.)/, '');
  const isTopFrame = window.top === window;
  // { id, active: time of the last activity, referrer: host, campaign, left: its page has gone, fingerprinted }
  let session;

  const within = (host, domain) => ('.' + host).endsWith('.' + domain);

  /** The host that sent the visitor here, '' when that is this site or a payment page. */
  const externalReferrer = () => {
    const host = document.referrer && new URL(document.referrer).hostname;
    return !host || [siteDomain, ...REFERRER_EXCLUSIONS].some((domain) => within(host, domain)) ? '' : host;
  };

  const saveSession = () => {
    tab.set(SESSION, JSON.stringify(session));
  };

  const newSession = (referrer, campaign) => {
    session = { id: uuid(), active: Date.now(), referrer, campaign };
    tab.set(SESSION_ID, session.id);
    saveSession();
  };

  const storedSession = () => attempt(() => JSON.parse(tab.get(SESSION)));

  const expired = () => Math.abs(Date.now() - session.active) > IDLE;

  /** Finds or begins the session of a page that has just loaded. Gives the referrer: a reload or "back" brings none. */
  const openSession = () => {
    const referrer = externalReferrer();
    const campaign = campaignOf(location.search);
    const { type } = performance.getEntriesByType('navigation')[0] || {};
    session = storedSession();
    const arrived = !session || (type !== 'reload' && type !== 'back_forward');
    // A window opened by a page inherits a copy of its sessionStorage. There the page that wrote it has not left.
    const continues =
      session &&
      (session.left || !isTopFrame) &&
      !expired() &&
      !(arrived && referrer && referrer !== session.referrer) &&
      !(arrived && (campaign.utm || campaign.click_ids) && JSON.stringify(campaign) !== JSON.stringify(session.campaign));
    if (!continues) newSession(arrived ? referrer : '', campaign);
    return arrived ? document.referrer : '';
  };

  /** Called with every event that shows a person at work. Other pages of this tab may have renewed the session. */
  const keepSession = () => {
    session = storedSession() || session;
    if (expired()) newSession('');
    session.active = Date.now();
    session.left = undefined;
    saveSession();
  };

  // ---- Device -------------------------------------------------------------------------------------------------
  // What the server cannot read from the request. User agents are parsed there.

  // Sizes in CSS pixels, and how far the page is scrolled, as they were when it was last laid out: asking at any other
  // moment would make the browser lay it out again, which on a large page takes far longer than all the rest.
  let sizes;
  let scrolled;

  /** For moments at which the layout is fresh: after a frame, when something has been resized, while scrolling. */
  const look = () => {
    const { scrollWidth, scrollHeight } = document.documentElement;
    sizes = {
      viewport: { width: window.innerWidth, height: window.innerHeight },
      page: { width: scrollWidth, height: scrollHeight },
    };
    scrolled = window.scrollY;
  };

  const device = () => ({
    language: navigator.language,
    utc_offset: -new Date().getTimezoneOffset(), // minutes; the zone's name would cost Intl's 20 ms
    screen: { width: window.screen.width, height: window.screen.height },
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
  const CRITICAL = /^(form_submit|purchase|signup|identify|outbound_click|file_download)$/;

  const own = new Set(); // keys that this page has written
  let unsent = 0; // events recorded since the last flush
  let timer;

  const sizeOf = (text) => new TextEncoder().encode(text).length; // a Blob would wait for the browser process

  const queuedKeys = () =>
    local
      .keys()
      .filter((key) => key.startsWith(QUEUE))
      .sort();

  /** Writes the event through to the queue and decides when to send. */
  const enqueue = (event) => {
    const text = JSON.stringify(event);
    if (sizeOf(text) > REQUEST_BYTES) return log('too large, dropped', event);
    const key = [QUEUE + Date.now(), event.session_id, event.event_id.slice(0, 8)].join(':');
    own.add(key);
    local.set(key, text);
    unsent++;
    if (CRITICAL.test(event.event_type) || document.visibilityState === 'hidden') flush(true);
    else if (unsent >= BATCH_EVENTS && !failures) flush();
    else schedule();
  };

  /** The oldest events that fit into one request, each with its key. */
  const nextBatch = () => {
    const keys = queuedKeys();
    keys.splice(0, keys.length - QUEUE_LIMIT).forEach((key) => local.remove(key));
    const batch = [];
    let bytes = 100; // the envelope
    for (const key of keys) {
      const [, time, sessionId] = key.split(':');
      const ours = own.has(key) || sessionId === session.id;
      if (inFlight.has(key) || (!ours && Math.abs(Date.now() - time) < ABANDONED)) continue;
      const text = local.get(key);
      if (!text) continue; // another tab has just delivered it
      bytes += sizeOf(text) + 1;
      if (bytes > REQUEST_BYTES) {
        batch.more = true;
        break;
      }
      batch.push({ key, text });
    }
    return batch;
  };

  // ---- Transport ----------------------------------------------------------------------------------------------

  const RETRY_AT = 'analytics_retry_at'; // when the API has asked to be left alone until then
  const ANSWER_WITHIN = 15 * SECOND;
  const LONGEST_PAUSE = 60 * MINUTE; // that the API may ask for
  const DOUBLINGS = 8; // of the wait between two attempts, which starts with a second
  const url = `${endpoint}/api/events?key=${encodeURIComponent(options.siteKey)}${serverCookie ? '&cookie=1' : ''}`;
  const survivesPage = 'keepalive' in Request.prototype;

  const inFlight = new Set();
  let failures = 0;

  /**
   * Sends what is queued. In a row: one request at a time, none while a failure is being waited out. `now` (a critical
   * event, a page that hides) does not wait for either, only for a Retry-After.
   */
  const flush = (now) => {
    if (!granted) return;
    clearTimeout(timer);
    timer = 0;
    const wait = local.get(RETRY_AT) - Date.now();
    if (wait > 0 && wait <= LONGEST_PAUSE) return retryIn(wait);
    if (now !== true && inFlight.size) return;
    unsent = 0;
    const batch = nextBatch();
    if (batch.length) send(batch);
    else schedule();
  };

  /** Sends in a while, if there is anything. */
  const schedule = () => {
    if (!timer && queuedKeys().length) timer = later(flush, BATCH_DELAY);
  };

  const retryIn = (milliseconds) => {
    clearTimeout(timer);
    timer = later(flush, milliseconds * (1 + Math.random() / 2));
  };

  /** A string body is text/plain: no preflight. A keepalive fetch outlives the page as a beacon does, and is answered. */
  const send = (batch) => {
    const body = `{"sent_at":"${new Date().toISOString()}","events":[${batch.map(({ text }) => text).join()}]}`;
    if (!survivesPage && document.visibilityState === 'hidden') return navigator.sendBeacon(url, body);
    const abort = new AbortController();
    const timeout = later(() => abort.abort(), ANSWER_WITHIN);
    batch.forEach(({ key }) => inFlight.add(key));
    const settled = (handle) =>
      safely((answer) => {
        clearTimeout(timeout);
        batch.forEach(({ key }) => inFlight.delete(key));
        if (granted) handle(answer);
      });
    const credentials = serverCookie ? 'include' : 'omit';
    fetch(url, { method: 'POST', body, keepalive: true, credentials, signal: abort.signal })
      .then(readToEnd)
      .then(
        settled((response) => answered(batch, response)),
        settled(() => failed()),
      );
  };

  /** Until the last byte has come, a request holds its share of those 64 KiB. */
  const readToEnd = async (response) => {
    log(response.status, await response.text());
    return response;
  };

  const answered = (batch, response) => {
    const isRefused = [400, 413, 422].includes(response.status);
    if (!response.ok && !isRefused) return failed(response);
    if (isRefused && batch.length > 1) {
      // Too large, or one event spoils it: halve until it is found.
      const middle = batch.length >> 1;
      send(batch.slice(0, middle));
      return send(batch.slice(middle));
    }
    if (isRefused) log('refused, dropped', response.status, batch[0].text);
    failures = 0;
    batch.forEach(({ key }) => {
      local.remove(key);
      own.delete(key);
    });
    if (batch.more || unsent >= BATCH_EVENTS) flush();
    else schedule();
  };

  /** Tries again after 1, 2, 4 … seconds, with jitter; not before the API wants to be asked. */
  const failed = (response) => {
    const asked = response && response.headers.get('Retry-After');
    const pause = asked * SECOND || Date.parse(asked) - Date.now();
    if (pause > 0) local.set(RETRY_AT, Date.now() + Math.min(pause, LONGEST_PAUSE));
    retryIn(2 ** Math.min(failures++, DOUBLINGS) * SECOND);
  };

  // ---- Events -------------------------------------------------------------------------------------------------

  const LEAVING = /^(page_leave|form_abandon|web_vitals)$/; // neither start nor extend a session

  /** Records one event. `sections` go into its payload. */
  const record = (type, sections, element) => {
    if (!granted || page.excluded) return;
    if (!LEAVING.test(type)) keepSession();
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
  };

  // ---- Clicks -------------------------------------------------------------------------------------------------

  const INTERACTIVE = 'a,button,input,select,textarea,label,summary,[role=button],[onclick],.t-btn,.t-submit,.tn-atom';
  const UNREADABLE = 'input,select,textarea,script,style,[contenteditable],[data-private]';
  const DOWNLOAD = /\.(pdf|docx?|xlsx?|pptx?|csv|epub|zip|rar|7z|gz|dmg|exe|apk|mp[34]|mov)$/i;
  const CONTACT = /^(mailto|tel|sms|tg|viber|whatsapp):/;
  const PASSING = /active|hover|focus|open|show|anim/; // classes that come and go
  const TEXT_LENGTH = 100;

  /** A short selector that survives a reload: up from the element to the nearest id, at most four steps. */
  const selectorOf = (element) => {
    const steps = [];
    for (let node = element; node && node.nodeType === 1 && steps.length < 4; node = node.parentElement) {
      const id = node.getAttribute('id') || '';
      if (/^[a-z][\w-]*$/i.test(id)) {
        steps.unshift('#' + id);
        break;
      }
      const names = [...node.classList].filter((name) => /^[a-z][\w-]*$/i.test(name) && !PASSING.test(name));
      steps.unshift([node.localName, ...names.slice(0, 2)].join('.'));
    }
    return steps.join(' > ').slice(0, 300);
  };

  /** The text one would read on the element; never what was typed, `***` where it is private. */
  const textOf = (element) => {
    const unreadable = element.closest(UNREADABLE);
    if (unreadable) return unreadable.closest('[data-private]') ? '***' : undefined;
    if (element.childElementCount && !element.matches(INTERACTIVE)) return undefined; // half of the page
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    let text = '';
    while (text.length < TEXT_LENGTH && walker.nextNode()) {
      const { data, parentElement } = walker.currentNode;
      if (!parentElement.closest(UNREADABLE)) text = (text + ' ' + data).replace(/\s+/g, ' ');
    }
    return text.trim().slice(0, TEXT_LENGTH) || undefined;
  };

  const onClick = (event) => {
    const { button, pageX, pageY } = event;
    const origin = event.composedPath()[0];
    if (button > 1 || !origin.closest) return;
    const element = origin.closest(INTERACTIVE) || origin;
    const name = attribute(element.closest('[data-tilda-event-name]'), 'data-tilda-event-name');
    const click = { x: Math.round(pageX), y: Math.round(pageY), button, name };
    record('click', { click, ...sizes }, element);
    wrapTilda();
    const link = origin.closest('a[href]');
    if (link) onLink(link);
  };

  const onLink = (link) => {
    const { protocol, hostname, pathname, href } = link;
    const details = { link: { url: href.slice(0, 2000) } };
    const isWeb = /^http/.test(protocol);
    const isOutside = isWeb ? !within(hostname, siteDomain) : CONTACT.test(protocol);
    if (isWeb && (link.hasAttribute('download') || DOWNLOAD.test(pathname))) record('file_download', details, link);
    else if (isOutside) record('outbound_click', details, link);
  };

  // ---- Scroll -------------------------------------------------------------------------------------------------

  const SCROLL_STEP = 10; // per cent of the page between two events
  let scrollTimer;

  /** The deepest point of the page that has been on the screen, in per cent. */
  const measureScroll = () => {
    const depth = Math.round(((scrolled + sizes.viewport.height) / sizes.page.height) * 100);
    page.depth = Math.max(page.depth, Math.min(depth, 100) || 0);
  };

  const onScroll = () => {
    look();
    measureScroll();
    clearTimeout(scrollTimer);
    scrollTimer = later(() => {
      const { depth, reported } = page;
      if (depth < reported + SCROLL_STEP && (depth < 100 || reported === 100)) return;
      page.reported = depth;
      record('scroll', { scroll: { scrollPercent: depth }, timing: timing(), ...sizes });
    }, 200);
  };

  // ---- Engagement ---------------------------------------------------------------------------------------------
  // Time counts while the page is visible and something was done with it in the last 30 seconds.

  const ATTENTION = 30 * SECOND;

  const onActivity = () => {
    if (!page.watched) return;
    const now = performance.now();
    page.engaged += Math.min(now - page.active, ATTENTION);
    page.active = now;
  };

  const inSeconds = (milliseconds) => Math.round(milliseconds / 100) / 10;

  /** Seconds since the page was opened, and of them those with attention. */
  const timing = () => ({ timeOnPage: inSeconds(performance.now() - page.opened), engagedTime: inSeconds(page.engaged) });

  /** Totals so far, once for each time that the page hides: on a phone the first may be the last. */
  const reportLeaving = () => {
    if (page.left) return;
    page.left = true;
    onActivity();
    measureScroll();
    page.watched = false;
    const scroll = { scrollPercent: page.depth };
    record('page_leave', { scroll, timing: timing(), ...sizes });
  };

  const reportReturn = () => {
    page.left = false;
    page.watched = true;
    page.active = performance.now();
  };

  // ---- Forms --------------------------------------------------------------------------------------------------
  // Values stay in the page, but for the fields that `data-form-fields` lists and the hash of `data-hash-email`. Both
  // are noted while one types: Tilda empties a form before it says that it was sent.

  const FORM_FIELDS = listOf(options.formFields);
  const touched = new Map(); // forms begun and not yet sent: { field: the last one touched, fields, identity }

  const describeForm = (form, more) => ({
    id: attribute(form, 'id'),
    name: attribute(form.querySelector('[name=tildaspec-formname]'), 'value') || attribute(form, 'name'),
    ...more,
  });

  const hashEmail = async (field, state) => {
    const { value } = field;
    const bytes = new TextEncoder().encode(value.trim().toLowerCase());
    const hash = await crypto.subtle.digest('SHA-256', bytes);
    const hex = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (field.value === value) state.identity = { email_sha256: hex };
  };

  const onField = ({ target }) => {
    const { form, type, name } = target;
    if (!form || type === 'hidden') return;
    if (!touched.has(form)) {
      touched.set(form, {});
      record('form_start', { form: describeForm(form) }, form);
    }
    const state = touched.get(form);
    state.field = name || target.id;
    if (FORM_FIELDS.includes(name)) {
      state.fields = { ...state.fields, [name]: type === 'checkbox' ? target.checked : target.value };
    }
    if ('hashEmail' in options && (type === 'email' || /^e-?mail$/i.test(name))) hashEmail(target, state).catch(log);
  };

  const onFormEnd = (type, form) => {
    if (!form.matches('form')) return;
    const { fields, identity } = touched.get(form) || {};
    record(type, { form: describeForm(form, { tranid: form.tildaTranId || undefined, fields }), identity }, form);
    if (type === 'form_submit') touched.delete(form);
  };

  const reportAbandoned = () => {
    touched.forEach(({ field }, form) => record('form_abandon', { form: describeForm(form, { field }) }, form));
    touched.clear();
  };

  // ---- Commerce -----------------------------------------------------------------------------------------------
  // Tilda tells its statistics of every cart, payment and popup: sendEventToStatistics(page, title, product, price).

  /** "1 990,50" as a number; of several separators the last one is the decimal point. */
  const numberOf = (value) => parseFloat(String(value).replace(/[^\d.,]|[.,](?=.*[.,])/g, '').replace(',', '.')) || 0;

  const currency = () =>
    attribute(document.querySelector('[data-project-currency-code]'), 'data-project-currency-code');

  const itemOf = ({ name, sku, price, quantity }) => ({ name, sku, price: numberOf(price), quantity: numberOf(quantity) || 1 });

  const onTildaStatistics = (address, title, product, price) => {
    const amount = numberOf(price);
    const [, popup] = /\/popup\/([^/]+)/.exec(address) || [];
    if (popup) record('popup_open', { popup: { id: popup } });
    else if (/\/cart\/add\//.test(address)) {
      const items = [itemOf({ name: product || title, price })];
      record('add_to_cart', { order: { amount, currency: currency(), items } });
    } else if (/\/payment\//.test(address)) {
      const { products = [] } = window.tcart || {};
      const [, id] = /Order\s+(\S+)/.exec(title) || [];
      record('purchase', { order: { id, amount, currency: currency(), items: products.map(itemOf) } });
    }
  };

  let wrapped; // the function that stands in for Tilda's

  const wrapTilda = () => {
    const tilda = window.Tilda || {};
    const original = tilda.sendEventToStatistics;
    if (!original || original === wrapped) return;
    wrapped = tilda.sendEventToStatistics = function (...args) {
      if (granted) safely(onTildaStatistics)(...args);
      return original.apply(this, args);
    };
  };

  // ---- Navigation ---------------------------------------------------------------------------------------------

  const TITLE_DELAY = 50; // what changes the address sets the title a moment later
  let page = {};

  const addressOf = () => ('hash' in options ? location.href : location.href.replace(/#.*/, '')).slice(0, 2000);

  /** Whether `data-exclude` lists the path, whole or, before a `*`, its beginning. */
  const isExcluded = () =>
    listOf(options.exclude).some((pattern) =>
      pattern.endsWith('*') ? location.pathname.startsWith(pattern.slice(0, -1)) : location.pathname === pattern,
    );

  const openPage = (referrer) => {
    const now = performance.now();
    page = {
      id: uuid(),
      url: addressOf(),
      referrer: referrer.slice(0, 2000),
      excluded: isExcluded(),
      opened: now,
      active: now, // when attention was last counted
      watched: document.visibilityState === 'visible',
      engaged: 0,
      depth: 0, // the deepest scroll, in per cent, and what of it was reported
      reported: 0,
    };
    record('page_view', { ...session.campaign, device: device(), ...sizes });
  };

  const onAddress = () => {
    if (addressOf() === page.url) return;
    reportAbandoned();
    reportLeaving();
    openPage(page.url);
  };

  /** Pages that change their address without loading. */
  const wrapHistory = () => {
    ['pushState', 'replaceState'].forEach((name) => {
      const original = history[name];
      history[name] = function (...args) {
        const result = original.apply(this, args);
        if (granted) later(onAddress, TITLE_DELAY);
        return result;
      };
    });
    listen('popstate hashchange', () => later(onAddress, TITLE_DELAY));
  };

  const onPageHide = () => {
    reportAbandoned();
    reportLeaving();
    if (isTopFrame) {
      session.left = true;
      saveSession();
    }
    flush(true);
  };

  /** Back from the back/forward cache: a new view of the page, in the session as it now is. */
  const onPageShow = ({ persisted }) => {
    if (persisted) openPage('');
  };

  const onVisibility = () => {
    if (document.visibilityState === 'visible') return reportReturn();
    reportLeaving();
    flush(true);
  };

  // ---- Start --------------------------------------------------------------------------------------------------

  let started = false;

  const start = () => {
    look();
    rememberUser(knownUser() || uuid());
    openPage(openSession());
    if (started) return;
    started = true;
    startListening();
    wrapTilda();
    if ('webVitals' in options) load('collector.vitals.js');
    if ('fingerprint' in options && !session.fingerprinted) {
      session.fingerprinted = true; // once a session is enough
      saveSession();
      load('collector.fingerprint.js');
    }
  };

  const startListening = () => {
    wrapHistory();
    attempt(() => {
      const observer = new ResizeObserver(safely(look));
      observer.observe(document.documentElement);
      observer.observe(document.body);
    });
    listen('click auxclick', onClick);
    listen('scroll', onScroll);
    listen('pointerdown pointermove keydown wheel scroll', onActivity);
    listen('input change', onField);
    listen('submit', ({ target }) => target.matches('.js-form-proccess') || onFormEnd('form_submit', target));
    listen('tildaform:aftersuccess', ({ target }) => onFormEnd('form_submit', target));
    listen('tildaform:aftererror', ({ target }) => onFormEnd('form_error', target));
    listen('visibilitychange', onVisibility);
    listen('DOMContentLoaded load', wrapTilda);
    listen('pagehide', onPageHide);
    listen('pageshow', onPageShow);
    listen('online', flush);
  };

  /** An optional module, from where this file came from. */
  const load = (name) => {
    const module = document.createElement('script');
    module.src = new URL(name, script.src);
    document.head.append(module);
  };

  /** Consent was withdrawn: nothing that we stored stays, but the refusal itself. */
  const forget = () => {
    clearTimeout(timer);
    timer = unsent = 0;
    touched.clear();
    [...queuedKeys(), USER_ID, RETRY_AT].forEach(local.remove);
    [SESSION_ID, SESSION].forEach(tab.remove);
    writeCookie('', 0);
  };

  const calls = {
    track: (name, data) => (name === 'purchase' ? calls.purchase(data) : record(name, { custom: data })),
    purchase: (order) => record('purchase', { order: { ...order, amount: numberOf(order.amount) } }),
    identify: (id, traits) => record('identify', { identity: { ...traits, external_id: id } }),
    consent,
    optOut() {
      local.set(CONSENT, 'never');
      applyConsent(false);
    },
    reset() {
      if (!granted) return;
      rememberUser(uuid());
      newSession('');
    },
    /** Gives an optional module the one way to record. */
    extend: (module) => module(safely(record)),
  };

  const main = () => {
    const waiting = Array.from(api);
    Object.keys(calls).forEach((name) => (api[name] = safely(calls[name])));
    api.push = (...queued) => queued.forEach(safely(([name, ...args]) => api[name](...args)));
    safely(decideConsent)();
    api.push(...waiting);
    // Another tab has changed its mind, or Tilda's block was answered.
    listenAlways('storage', ({ key }) => key === CONSENT && decideConsent());
    if (consentMode === 'tilda') listenAlways('click', () => later(decideConsent, TILDA_ANSWER));
  };

  // Not for a page that is only prepared, nor before the title is known and a first frame was laid out.
  const begin = () => {
    if (document.visibilityState === 'visible') requestAnimationFrame(() => later(main, 0));
    else main();
  };
  if (document.prerendering) listenAlways('prerenderingchange', begin);
  else if (document.body) begin();
  else listenAlways('DOMContentLoaded', begin);
})(window, document);

// Optional module (`data-media`): how far videos and recordings are played, as events `media` with {provider, action, percent,
// duration, url}: once each `play`, `progress` (25, 50, 75, 90 %) and `complete`. Tilda creates players when they come
// near the screen, so that the module looks for new ones every second. Decorative videos (silent and started by
// themselves) are left out.
//
// The messages of the players:
//   YouTube   https://developers.google.com/youtube/iframe_api_reference (needs `enablejsapi=1`, which is added)
//   Vimeo     https://github.com/vimeo/player.js (its methods and events are JSON messages)
//   RuTube    https://github.com/rutube/RutubePlayerJSAPI
//   VK        https://dev.vk.com/ru/widgets/video (needs VK's own script, which is used if the page has loaded it)

window.tildaAnalytics.extend((record, listen) => {
  const STEPS = [25, 50, 75, 90];
  const LONGEST_STEP = 10; // seconds; a longer one is a jump of the visitor, which plays nothing
  const SEARCH_PAUSE = 1000; // milliseconds
  const states = new WeakMap(); // by player: { position in seconds, done: Set of the recorded steps }
  const found = new Set(); // iframes with players that were greeted

  const addressOf = (element) => {
    const { origin, pathname } = new URL(element.currentSrc || element.src, window.location.href);
    return (origin + pathname).slice(0, 500);
  };

  const stateOf = (element) => {
    if (!states.has(element)) states.set(element, { position: 0, done: new Set() });
    return states.get(element);
  };

  const report = (element, provider, action, percent, duration) => {
    const { done } = stateOf(element);
    const key = action + percent;
    if (done.has(key)) return;
    done.add(key);
    const seconds = duration > 0 && Number.isFinite(duration) ? Math.round(duration) : undefined;
    record('media', { media: { provider, action, percent, duration: seconds, url: addressOf(element) } }, element);
  };

  /** Notes the position of a player that plays, in seconds. */
  const advance = (element, provider, position, duration) => {
    const state = stateOf(element);
    const before = state.position;
    state.position = position;
    report(element, provider, 'play', 0, duration);
    if (!(duration > 0) || position < before || position - before > LONGEST_STEP) return;
    STEPS.filter((step) => before < (step / 100) * duration && position >= (step / 100) * duration).forEach((step) =>
      report(element, provider, 'progress', step, duration),
    );
  };

  const complete = (element, provider, duration) => {
    advance(element, provider, duration, duration); // the last position may be some moments old
    report(element, provider, 'complete', 100, duration);
  };

  const isDecorative = ({ muted, loop, autoplay }) => muted && (loop || autoplay);

  listen('timeupdate ended', ({ type, target }) => {
    if (!target.currentSrc || isDecorative(target)) return;
    if (type === 'ended') complete(target, 'file', target.duration);
    else if (!target.paused) advance(target, 'file', target.currentTime, target.duration);
  });

  const send = (frame, message) => frame.contentWindow.postMessage(JSON.stringify(message), '*');

  const PROVIDERS = {
    youtube: {
      address: /^https?:\/\/(www\.)?youtube(-nocookie)?\.com\/embed\//,
      greet: (frame) => send(frame, { event: 'listening', id: 1, channel: 'widget' }),
      read(frame, { event, info }) {
        const state = stateOf(frame);
        const { currentTime, duration, playerState } = event === 'onStateChange' ? { playerState: info } : info || {};
        if (duration) state.duration = duration;
        if (playerState !== undefined) state.isPlaying = playerState === 1;
        if (playerState === 0) complete(frame, 'youtube', state.duration);
        else if (state.isPlaying) {
          advance(frame, 'youtube', currentTime === undefined ? state.position : currentTime, state.duration);
        }
      },
    },
    vimeo: {
      address: /^https?:\/\/player\.vimeo\.com\/video\//,
      greet: (frame) => ['timeupdate', 'ended'].forEach((value) => send(frame, { method: 'addEventListener', value })),
      read(frame, { event, data }) {
        if (event === 'ready') PROVIDERS.vimeo.greet(frame);
        else if (event === 'ended') complete(frame, 'vimeo', data && data.duration);
        else if (event === 'timeupdate') advance(frame, 'vimeo', data.seconds, data.duration);
      },
    },
    rutube: {
      address: /^https?:\/\/rutube\.ru\/play\/embed\//,
      greet() {},
      read(frame, { type, data }) {
        const state = stateOf(frame);
        if (type === 'player:durationChange') state.duration = data.duration;
        else if (type === 'player:playComplete') complete(frame, 'rutube', state.duration);
        else if (type === 'player:changeState') state.isPlaying = data.state === 'playing';
        else if (type === 'player:currentTime' && state.isPlaying) {
          advance(frame, 'rutube', data.time, state.duration);
        }
      },
    },
    vk: {
      address: /^https?:\/\/(vk\.com|vkvideo\.ru)\/video_ext\.php/,
      greet(frame) {
        const { VideoPlayer } = window.VK || {};
        const state = stateOf(frame);
        if (!VideoPlayer || state.isWatched || !/[?&]js_api=1/.test(frame.src)) return;
        state.isWatched = true;
        const player = VideoPlayer(frame);
        player.on('timeupdate', () => advance(frame, 'vk', player.getCurrentTime(), player.getDuration()));
        player.on('ended', () => complete(frame, 'vk', player.getDuration()));
      },
      read() {},
    },
  };

  const providerOf = ({ src }) => Object.values(PROVIDERS).find(({ address }) => address.test(src));

  /** YouTube's player tells nothing without `enablejsapi`, which Tilda leaves out. */
  const enable = (frame) => {
    if (PROVIDERS.youtube.address.test(frame.src) && !/[?&]enablejsapi=1/.test(frame.src)) {
      const url = new URL(frame.src);
      url.searchParams.set('enablejsapi', 1);
      url.searchParams.set('origin', window.location.origin);
      frame.src = url;
    }
  };

  const greetAll = () => {
    [...document.getElementsByTagName('iframe')].forEach((frame) => {
      const provider = providerOf(frame);
      if (!provider || /[?&]background=1|[?&]mute=1/.test(frame.src)) return;
      if (!found.has(frame)) {
        found.add(frame);
        // This reloads the player, so it must not have been started.
        if (!/[?&]autoplay=1/.test(frame.src) && document.activeElement !== frame) enable(frame);
      }
      provider.greet(frame); // a player that is not ready yet ignores it
    });
  };

  listen('message', ({ source, data }) => {
    const frame = [...found].find(({ contentWindow }) => contentWindow && contentWindow === source);
    if (!frame) return;
    try {
      providerOf(frame).read(frame, typeof data === 'string' ? JSON.parse(data) : data);
    } catch {
      // Not a message of the player.
    }
  });

  greetAll();
  setInterval(greetAll, SEARCH_PAUSE);
});

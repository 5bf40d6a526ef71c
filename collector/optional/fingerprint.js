// Optional module (`data-fingerprint`): FingerprintJS (its build stands above, as the global `FingerprintJS` of this
// file) names the device. Equal devices get equal names: a signal in payload.identity.fingerprint, never a key.

window.tildaAnalytics.extend((record) => {
  const measure = async () => {
    const agent = await FingerprintJS.load({ monitoring: false });
    const { visitorId, confidence } = await agent.get();
    record('identify', { identity: { fingerprint: visitorId, confidence: confidence.score } });
  };
  // It takes 120 to 160 ms of the main thread: when nothing else waits for it.
  const whenIdle = window.requestIdleCallback || setTimeout;
  whenIdle(() => measure().catch(() => {}));
});

// Optional module (`data-fingerprint`): records FingerprintJS's name of the device in payload.identity.fingerprint. Equal
// devices have equal names, so that the name is a signal and never a key. The build puts the library in front of this file,
// as the local variable `FingerprintJS`.

window.tildaAnalytics.extend((record) => {
  const measure = async () => {
    const agent = await FingerprintJS.load({ monitoring: false });
    const { visitorId, confidence } = await agent.get();
    record('identify', { identity: { fingerprint: visitorId, confidence: confidence.score } });
  };
  // Wait for an idle moment: the measurement takes 120 to 160 ms of the main thread.
  const whenIdle = window.requestIdleCallback || setTimeout;
  whenIdle(() => measure().catch(() => {}));
});

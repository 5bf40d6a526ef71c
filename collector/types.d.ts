/**
 * `window.tildaAnalytics`, for those who call it from TypeScript:
 *
 *   /// <reference path="types.d.ts" />
 *
 * Before the collector has loaded it is an array that keeps calls: `[["track", "signup", { plan: "pro" }], …]`.
 * No call throws, and none does anything without consent, except `consent` and `optOut`.
 */

/** JSON without loops; with the rest of its event at most 10 KB. */
type TildaAnalyticsData = Record<string, unknown>;

interface TildaAnalyticsOrder {
  /** The shop's own number. Reports count an order with the same id once. */
  id?: string;
  /** Total; With the shop, "1 990,50" is read as 1990.5. */
  amount: number | string;
  /** ISO 4217: "EUR". */
  currency?: string;
  items?: Array<{ id?: string; name?: string; sku?: string; price?: number; quantity?: number }>;
}

interface TildaAnalyticsRefund {
  /** The number of the refunded order. */
  id: string;
  /** The refunded part, greater than 0; the complete order if missing. */
  amount?: number | string;
  /** ISO 4217: "EUR". */
  currency?: string;
}

interface TildaAnalyticsTraits extends TildaAnalyticsData {
  /** SHA-256 (64 hexadecimal digits) of the trimmed address in lower case. Personal data. */
  email_sha256?: string;
}

interface TildaAnalyticsCalls {
  /** Records an event of your own; `data` becomes `payload.custom`. `signup` is one that reports know. */
  track(name: string, data?: TildaAnalyticsData): void;
  /** Names the person behind this visitor by your own id. */
  identify(id: string, traits?: TildaAnalyticsTraits): void;
  /** Records an order. */
  purchase(order: TildaAnalyticsOrder): void;
  /** Records the refund of an order, or of a part of it. */
  refund(order: TildaAnalyticsRefund): void;
  /** The visitor's answer: `true` starts, `false` stops and removes all that was stored. In cookieless mode, visitors are
   * counted without IDs before `true` and after `false`. */
  consent(granted: boolean): void;
  /** After a logout: another visitor and another session from here on. Does nothing in cookieless mode without consent. */
  reset(): void;
  /** No for good on this browser, whatever a banner says later. */
  optOut(): void;
  /**
   * Adds properties to `payload.custom` of all later events of the page. Needs the option `data-props`. At most 20 of up to
   * 200 characters; `null` removes one.
   */
  setProperties(properties: Record<string, string | number | boolean | null>): void;
}

type TildaAnalyticsCall = {
  [Name in keyof TildaAnalyticsCalls]: [name: Name, ...args: Parameters<TildaAnalyticsCalls[Name]>];
}[keyof TildaAnalyticsCalls];

interface TildaAnalytics extends Partial<TildaAnalyticsCalls> {
  /** Makes a call, now or when the collector has loaded. */
  push(...calls: TildaAnalyticsCall[]): unknown;
}

interface Window {
  tildaAnalytics?: TildaAnalytics;
}

// The script that a page loads from the edge:
//
//   <script async src="https://go.example/t.js" data-key="tb_pub_…"></script>
//
// It keeps the click's id, which the landing page's address brings, in a cookie of the page's own site, and reports
// clicks, leads and sales with it. Attributes of the tag:
//   data-key      the publishable key; its allowed origins must name the page
//   data-api      the edge's address, where it is not the one that the script came from
//   data-param    the parameter that brings the click's id, `click_id` if not said
//   data-domain   the domain of the cookie, to share it between subdomains
//   data-consent  `required`: nothing is stored before `tributary.consent(true)`
//
// A browser that asks for privacy (Global Privacy Control) gets no cookie. The id in the page's own address still goes
// with what that page reports: it names a click, not a person.

type Fields = Record<string, unknown>;
type Call = [name: "click" | "lead" | "sale" | "consent", argument?: unknown];

interface Tributary {
  /** Reports a click that came without a redirect, and keeps its id. Gives the answer, or null if there was none. */
  click(fields?: Fields): Promise<{ click_id?: string } | null>;
  /** Reports a lead; false if the browser would not send it. */
  lead(fields?: Fields): boolean;
  /** Reports a sale; false if the browser would not send it. */
  sale(fields?: Fields): boolean;
  /** Whether the visitor lets us store the click's id. */
  consent(given: boolean): void;
  /** Calls as arrays, `tributary.q.push(["sale", {…}])`: what a page queued before the script was there is done first. */
  q: { push(call: Call): unknown };
}

declare global {
  interface Window {
    tributary?: Partial<Tributary> & { q?: Call[] | Tributary["q"] };
  }
  interface Navigator {
    globalPrivacyControl?: boolean;
  }
}

const COOKIE = "tb_click";
const COOKIE_SECONDS = 90 * 24 * 60 * 60;
/** The form of a click's id; whatever else stands in the address is none of ours. */
const CLICK_ID = /^click_[0-9a-z]{26}$/;

const tag = document.currentScript as HTMLScriptElement | null;
const attribute = (name: string): string => tag?.dataset[name] ?? "";
const api = (attribute("api") || (tag ? new URL(tag.src).origin : location.origin)) + "/api/v1/track/";
const refusesTracking = navigator.globalPrivacyControl === true;

let mayStore = attribute("consent") !== "required";
const landed = arrived(new URLSearchParams(location.search).get(attribute("param") || "click_id"));
let clickId = landed;

/** The id, if it is one. */
function arrived(id: string | null | undefined): string | undefined {
  return id && CLICK_ID.test(id) ? id : undefined;
}

function stored(): string | undefined {
  return arrived(document.cookie.split("; ").find((pair) => pair.startsWith(COOKIE + "="))?.slice(COOKIE.length + 1));
}

function store(id: string, seconds: number): void {
  const domain = attribute("domain");
  document.cookie =
    `${COOKIE}=${id}; Max-Age=${seconds}; Path=/; SameSite=Lax` +
    (domain && `; Domain=${domain}`) +
    (location.protocol === "https:" ? "; Secure" : "");
}

/** Keeps the click's id, the one of this page's address before an older one, for another 90 days. */
function keep(): void {
  if (!mayStore || refusesTracking) return;
  clickId = clickId || stored();
  if (clickId) store(clickId, COOKIE_SECONDS);
}

function body(fields: Fields | undefined): string {
  return JSON.stringify({
    key: attribute("key"),
    click_id: clickId,
    // Of the visitor, not of the sender: the edge then makes no visitor's id either.
    consent: mayStore ? undefined : "0",
    ...fields,
  });
}

/** Sends without waiting for an answer, also while the page goes away. As plain text: no browser asks beforehand. */
function send(route: string, fields: Fields | undefined): boolean {
  const text = body(fields);
  if (navigator.sendBeacon?.(api + route, text)) return true;
  try {
    fetch(api + route, { method: "POST", body: text, keepalive: true }).catch(() => {});
    return true;
  } catch {
    return false;
  }
}

const tributary: Tributary = {
  async click(fields) {
    try {
      const answer = await (await fetch(api + "click", { method: "POST", body: body(fields), keepalive: true })).json();
      const id = arrived(answer.click_id);
      if (id) {
        clickId = id;
        keep();
      }
      return answer;
    } catch {
      return null;
    }
  },
  lead: (fields) => send("lead", fields),
  sale: (fields) => send("sale", fields),
  consent(given) {
    mayStore = given;
    if (given) return keep();
    store("", 0);
    clickId = landed;
  },
  q: { push: ([name, argument]) => (tributary[name] as (argument: unknown) => unknown)(argument) },
};

const waiting = window.tributary?.q;
keep();
window.tributary = tributary;
if (Array.isArray(waiting)) waiting.forEach(tributary.q.push);

export {};

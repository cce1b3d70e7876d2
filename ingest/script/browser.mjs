// Goes the way of a customer in a real browser: a tracking link, a shop's landing page on another site, its thank-you page.
//
//   node browser.mjs CHROMIUM EDGE KEY LINK PORT SCREENSHOT
//
// CHROMIUM is the browser's path, EDGE the edge's address, KEY a publishable key, LINK a link's key whose offer leads to
// http://shop.localhost:PORT/landing. Prints one JSON object with what the browser saw.
import { createServer } from "node:http";
import { once } from "node:events";
import { chromium } from "playwright-core";

const [browserPath, edge, key, link, port, screenshot] = process.argv.slice(2);
// Another site than the edge's, and one that every browser takes to be this machine.
const shop = `http://shop.localhost:${port}`;
const ownShop = `http://www.shop.localhost:${port}`;
/** A person's browser: headless Chromium names itself, and would be a bot. */
const userAgent =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/** The days that a cookie of ours lives. */
const days = ({ expires }) => (expires * 1000 - Date.now()) / 864e5;

const page = (title, content, tag = `src="${edge}/t.js"`) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${title}</title>
<script>window.tributary = { q: [] };</script>
<script async data-key="${key}" ${tag}></script>
<body style="font: 18px sans-serif; margin: 3em"><h1>${title}</h1>${content}</body></html>`;

const pages = {
  "/landing": page("Shoes", `<p>The best in town.</p><p><a id="buy" href="/thanks">Buy for 80.00</a></p>`),
  "/thanks": page(
    "Thank you",
    `<script>
      tributary.q.push(["sale", { transaction_id: "B-1", amount: "80.00", currency: "USD" }]);
    </script>`,
  ),
  "/asks": page("Shoes", "", `src="${edge}/t.js" data-consent="required"`),
  // A shop that serves the script itself, names the click's id otherwise, and shares the cookie between its hosts.
  "/own": page("Shoes", "", `src="/own.js" data-api="${edge}" data-param="ref" data-domain="shop.localhost"`),
};
const script = await (await fetch(`${edge}/t.js`)).text();

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, shop);
  if (pathname === "/own.js") {
    response.writeHead(200, { "content-type": "text/javascript" }).end(script);
    return;
  }
  const found = pages[pathname];
  response.writeHead(found ? 200 : 404, { "content-type": "text/html" }).end(found);
});
server.listen(Number(port), "127.0.0.1");
await once(server, "listening");

const browser = await chromium.launch({
  executablePath: browserPath,
  // There is no user here whom the sandbox could protect from our own pages.
  args: ["--no-sandbox", "--host-resolver-rules=MAP *.localhost 127.0.0.1"],
});

/** Opens an address like somebody who has never been here; `before` makes the browser another one. */
async function visit(address, before = async () => {}) {
  const context = await browser.newContext({ userAgent, viewport: { width: 800, height: 500 } });
  await before(context);
  const tab = await context.newPage();
  await tab.goto(address);
  await ready(tab);
  const cookies = async () => (await context.cookies()).filter(({ name }) => name === "tb_click");
  return { tab, cookies };
}

/** The script has taken the place of the queue. */
const ready = (tab) => tab.waitForFunction(() => typeof window.tributary?.sale === "function");

/** What an answered request was. */
async function told(response) {
  const request = response.request();
  return {
    status: response.status(),
    to: new URL(request.url()).origin,
    // A beacon is a ping.
    by: request.resourceType(),
    type: request.headers()["content-type"],
    body: JSON.parse(request.postData()),
  };
}

/** Reports a lead, and tells what was sent. */
async function lead({ tab }, transaction_id) {
  const answered = tab.waitForResponse((response) => response.url().endsWith("/track/lead"));
  const taken = await tab.evaluate((fields) => window.tributary.lead(fields), { transaction_id });
  return { taken, ...(await told(await answered)) };
}

// Somebody follows a link, and buys.
const buyer = await visit(`${edge}/c/${link}`);
await buyer.tab.screenshot({ path: screenshot });
const landing = buyer.tab.url();
const click = new URL(landing).searchParams.get("click_id");
const [cookie] = await buyer.cookies();
const answered = buyer.tab.waitForResponse((response) => response.url().endsWith("/track/sale"));
await buyer.tab.click("#buy");
await ready(buyer.tab);
const sale = await told(await answered);

// A browser that asks for privacy says so to the page and to every server.
const private_ = await visit(`${edge}/c/${link}`, async (context) => {
  await context.setExtraHTTPHeaders({ "Sec-GPC": "1" });
  await context.addInitScript(() =>
    Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { get: () => true }),
  );
});
const privately = {
  click: new URL(private_.tab.url()).searchParams.get("click_id"),
  lead: await lead(private_, "L-private"),
  cookies: (await private_.cookies()).length,
};

// A page that asks its visitor first.
const asked = await visit(`${shop}/asks?click_id=${click}`);
const consent = [];
for (const [given, transaction] of [[null, "L-asked"], [true, "L-agreed"], [false, "L-withdrawn"]]) {
  if (given !== null) await asked.tab.evaluate((given) => window.tributary.consent(given), given);
  const { body } = await lead(asked, transaction);
  consent.push({ cookies: (await asked.cookies()).length, consent: body.consent ?? null, click: body.click_id });
}

// A browser without beacons.
const beaconless = await visit(`${shop}/landing?click_id=${click}`, (context) =>
  context.addInitScript(() => Object.defineProperty(Navigator.prototype, "sendBeacon", { value: undefined })),
);
const fetched = await lead(beaconless, "L-fetched");

// Somebody comes back whose cookie would have ended tomorrow.
const tomorrow = Math.floor(Date.now() / 1000) + 86_400;
const back = await visit(`${shop}/landing`, (context) =>
  context.addCookies([
    { name: "tb_click", value: click, domain: "shop.localhost", path: "/", expires: tomorrow, sameSite: "Lax" },
  ]),
);
const renewed = { lead: await lead(back, "L-renewed"), days: (await back.cookies()).map(days) };

// What was known only by the cookie is forgotten with it.
await back.tab.evaluate(() => window.tributary.consent(false));
const forgotten = {
  click: (await lead(back, "L-forgotten")).body.click_id ?? null,
  cookies: (await back.cookies()).length,
};

// Another host of the shop, whose page says everything otherwise; `click_id` means nothing there.
const other = await visit(`${ownShop}/own?ref=${click}&click_id=click_${"0".repeat(26)}`);
const own = {
  lead: await lead(other, "L-own"),
  cookies: (await other.cookies()).map(({ value, domain }) => ({ value, domain })),
};

// A visitor who came without a link: the page reports the click and gets its id.
const direct = await visit(`${shop}/landing`);
const clicked = await direct.tab.evaluate((link) => window.tributary.click({ link }), link);

console.log(
  JSON.stringify({
    landing,
    title: await buyer.tab.title(),
    cookie: cookie && { value: cookie.value, domain: cookie.domain, days: days(cookie) },
    sale,
    private: privately,
    consent,
    fetched,
    renewed,
    forgotten,
    own,
    direct: { answer: clicked, cookie: (await direct.cookies())[0]?.value },
  }),
);
await browser.close();
server.close();

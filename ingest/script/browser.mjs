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
/** A person's browser: headless Chromium names itself, and would be a bot. */
const userAgent =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

const page = (title, content, attributes = "") => `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${title}</title>
<script>window.tributary = { q: [] };</script>
<script async src="${edge}/t.js" data-key="${key}" ${attributes}></script>
<body style="font: 18px sans-serif; margin: 3em"><h1>${title}</h1>${content}</body></html>`;

const pages = {
  "/landing": page("Shoes", `<p>The best in town.</p><p><a id="buy" href="/thanks">Buy for 80.00</a></p>`),
  "/thanks": page(
    "Thank you",
    `<script>
      tributary.q.push(["sale", { transaction_id: "B-1", amount: "80.00", currency: "USD" }]);
    </script>`,
  ),
  "/asks": page("Shoes", "", `data-consent="required"`),
};

const server = createServer((request, response) => {
  const found = pages[new URL(request.url, shop).pathname];
  response.writeHead(found ? 200 : 404, { "content-type": "text/html" }).end(found);
});
server.listen(Number(port), "127.0.0.1");
await once(server, "listening");

const browser = await chromium.launch({
  executablePath: browserPath,
  // There is no user here whom the sandbox could protect from our own pages.
  args: ["--no-sandbox", "--host-resolver-rules=MAP shop.localhost 127.0.0.1"],
});

/** Opens an address like somebody who has never been here. */
async function visit(address, privacy = false) {
  const context = await browser.newContext({ userAgent, viewport: { width: 800, height: 500 } });
  if (privacy) {
    await context.addInitScript(() =>
      Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { get: () => true }),
    );
  }
  const tab = await context.newPage();
  await tab.goto(address);
  await ready(tab);
  const cookies = async () => (await context.cookies(shop)).filter(({ name }) => name === "tb_click");
  return { tab, cookies };
}

/** The script has taken the place of the queue. */
const ready = (tab) => tab.waitForFunction(() => typeof window.tributary?.sale === "function");

const buyer = await visit(`${edge}/c/${link}`);
await buyer.tab.screenshot({ path: screenshot });
const landing = buyer.tab.url();
const [cookie] = await buyer.cookies();
const answered = buyer.tab.waitForResponse((response) => response.url().endsWith("/track/sale"));
await buyer.tab.click("#buy");
await ready(buyer.tab);
const sale = await answered;

const private_ = await visit(`${edge}/c/${link}`, true);
const asked = await visit(`${shop}/asks?click_id=${new URL(landing).searchParams.get("click_id")}`);
const beforeConsent = (await asked.cookies()).length;
await asked.tab.evaluate(() => window.tributary.consent(true));
const afterConsent = (await asked.cookies()).length;
await asked.tab.evaluate(() => window.tributary.consent(false));
const afterRefusal = (await asked.cookies()).length;

// A visitor who came without a link: the page reports the click and gets its id.
const direct = await visit(`${shop}/thanks`);
const clicked = await direct.tab.evaluate((link) => window.tributary.click({ link }), link);

console.log(
  JSON.stringify({
    landing,
    title: await buyer.tab.title(),
    cookie: cookie && { value: cookie.value, domain: cookie.domain, days: (cookie.expires * 1000 - Date.now()) / 864e5 },
    sale: { status: sale.status(), type: sale.request().headers()["content-type"] },
    withPrivacyControl: (await private_.cookies()).length,
    consent: { before: beforeConsent, after: afterConsent, withdrawn: afterRefusal },
    direct: { answer: clicked, cookie: (await direct.cookies())[0]?.value },
  }),
);
await browser.close();
server.close();

// SPDX-License-Identifier: Apache-2.0
// A browser on strings: one JSON request a line on standard input, one JSON
// answer a line on standard output. browser.py holds the other end.
//
// Environment: CHROMIUM is the program, CHROMIUM_ARGS a JSON list of more of
// its options, NODE_PATH where playwright-core and axe-core are.
'use strict';

const axe = require('axe-core');
const fs = require('fs');
const pixels = require('./pixels.js');
const {chromium} = require('playwright-core');
const readline = require('readline');

const LIMIT_MS = 60000;

// A promise, or an error with `what` in it after LIMIT_MS.
function bounded(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Error(`${what}: not within ${LIMIT_MS} ms`);
    timer = setTimeout(() => reject(error), LIMIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function until(probe, what) {
  const end = Date.now() + LIMIT_MS;
  while (!await probe()) {
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${LIMIT_MS} ms`);
    }
    await new Promise((done) => setTimeout(done, 20));
  }
}

// One tab with nothing of an earlier one in it: no cookie, no cache.
class Tab {
  static async open(browser, how) {
    const tab = new Tab();
    tab.requests = [];
    tab.complaints = [];
    tab.downloads = [];
    tab.context = await browser.newContext({
      colorScheme: how.scheme || 'light',
      viewport: {width: how.width || 1024, height: how.height || 768},
      isMobile: !!how.mobile,
      locale: 'en-GB',
      extraHTTPHeaders: how.headers || {},
    });
    tab.context.setDefaultTimeout(LIMIT_MS);
    // Runs beside the page's own rules, which do not concern what the browser's
    // owner does; the page sees nothing of it.
    await tab.context.addInitScript(() => {
      globalThis.restored = [];
      addEventListener('pageshow', (e) => restored.push(e.persisted));
    });
    tab.page = await tab.context.newPage();
    tab.listen();
    return tab;
  }

  listen() {
    const complain = (kind, text) => this.complaints.push({kind, text});
    this.context.on('request', (request) => this.requests.push({
      url: request.url(),
      method: request.method(),
      type: request.resourceType(),
      referrer: request.headers().referer || '',
    }));
    this.page.on('console', (message) => {
      complain(message.type(), message.text());
    });
    this.page.on('pageerror', (error) => complain('exception', String(error)));
    this.page.on('crash', () => complain('crash', 'the page is gone'));
    this.page.on('dialog', (dialog) => {
      complain('dialog', dialog.message());
      dialog.dismiss().catch(() => {});
    });
    this.page.on('download', (download) => this.downloads.push(download));
  }

  // Opens an address. Without a status: it was a file, not a page.
  async goto({url}) {
    let response;
    try {
      response = await this.page.goto(url, {waitUntil: 'load'});
    } catch (error) {
      if (!String(error).includes('Download is starting')) {
        throw error;
      }
      return {};
    }
    return {status: response.status(), headers: await response.allHeaders()};
  }

  // As the browser's button. {restored}: whether it was done without a request.
  async back() {
    const url = this.page.url();
    this.page.evaluate(() => history.back()).catch(() => {});
    await until(() => this.page.url() !== url, 'the page before');
    let shown = [];
    await until(async () => {
      const asked = this.page.evaluate(() => globalThis.restored);
      shown = await bounded(asked, 'the page').catch(() => []);
      return shown.length > 0;
    }, 'a shown page');
    return {restored: shown[shown.length - 1]};
  }

  // Waits for so many files since the tab was opened; returns all of them.
  async files({count}) {
    await until(() => this.downloads.length >= count, `file ${count}`);
    const files = [];
    for (const download of this.downloads) {
      const path = await bounded(download.path(), 'end of the download');
      files.push({
        name: download.suggestedFilename(),
        url: download.url(),
        text: fs.readFileSync(path, 'utf8'),
      });
    }
    return {files};
  }

  async press({key}) {
    await this.page.keyboard.press(key);
    return {};
  }

  // Presses a key that leads to another page, and waits for that.
  async follow({key}) {
    await Promise.all([
      this.page.waitForEvent('load'),
      this.page.keyboard.press(key),
    ]);
    return {};
  }

  // What has the focus, and how it looks.
  async focus() {
    return this.page.evaluate(() => {
      const at = document.activeElement;
      const style = getComputedStyle(at);
      const box = at.getBoundingClientRect();
      return {
        tag: at.tagName.toLowerCase(),
        text: at.innerText.trim(),
        href: at.href || '',
        outlineStyle: style.outlineStyle,
        outlineWidth: parseFloat(style.outlineWidth),
        outlineColor: style.outlineColor,
        visible: at.matches(':focus-visible'),
        width: box.width,
        height: box.height,
      };
    });
  }

  async facts() {
    const seen = await this.page.evaluate(() => {
      const root = document.documentElement;
      const texts = (what) => [...document.querySelectorAll(what)].map(
          (element) => element.innerText.trim());
      return {
        title: document.title,
        headings: texts('h1'),
        code: document.querySelector('main')?.dataset.code || '',
        links: [...document.links].map((link) => link.href),
        language: root.lang,
        text: document.body ? document.body.innerText : '',
        referrer: document.referrer,
        background: getComputedStyle(document.body).backgroundColor,
        scripts: document.scripts.length,
        scrollWidth: Math.max(root.scrollWidth, document.body.scrollWidth),
        viewWidth: root.clientWidth,
        stored: (() => {
          try {
            return localStorage.length + sessionStorage.length;
          } catch (error) {
            return 0;
          }
        })(),
      };
    });
    const cookies = await this.context.cookies();
    const {requests, complaints} = this;
    return {...seen, requests, complaints, cookies, url: this.page.url()};
  }

  // All of axe-core's rules. It is brought in by the debugger's own evaluate:
  // the page's Content-Security-Policy stays in force, for axe too.
  async axe() {
    const session = await this.context.newCDPSession(this.page);
    await session.send('Runtime.evaluate', {expression: axe.source});
    await session.detach();
    const found = await this.page.evaluate(() => globalThis.axe.run({
      preload: false,
      resultTypes: ['violations', 'incomplete', 'passes'],
    }));
    const brief = (rules) => rules.map((rule) => ({
      id: rule.id,
      help: rule.help,
      where: rule.nodes.map((node) => node.html.slice(0, 160)),
    }));
    return {
      violations: brief(found.violations),
      undecided: brief(found.incomplete),
      passed: found.passes.map((rule) => rule.id),
    };
  }

  async shot() {
    return pixels.measure(await this.page.screenshot({type: 'png'}));
  }

  async close() {
    await this.context.close();
    return {};
  }
}

const TAB_ORDERS = new Set([
  'goto', 'back', 'files', 'press', 'follow', 'focus', 'facts', 'axe', 'shot',
]);

class Driver {
  async answer({order, ...how}) {
    if (order === 'open') {
      this.tab = await Tab.open(this.browser, how);
      return {};
    }
    if (order === 'close') {
      return this.tab.close();
    }
    if (!TAB_ORDERS.has(order)) {
      throw new Error(`no order ${order}`);
    }
    return this.tab[order](how);
  }

  async run() {
    this.browser = await chromium.launch({
      executablePath: process.env.CHROMIUM,
      headless: true,
      timeout: LIMIT_MS,
      // A browser has the cache of whole pages; playwright turns it off.
      ignoreDefaultArgs: ['--disable-back-forward-cache'],
      args: JSON.parse(process.env.CHROMIUM_ARGS || '[]'),
    });
    const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');
    say({version: this.browser.version()});
    for await (const line of readline.createInterface({input: process.stdin})) {
      try {
        say(await bounded(this.answer(JSON.parse(line)), line));
      } catch (error) {
        say({error: String(error.stack || error)});
      }
    }
    await this.browser.close();
  }
}

new Driver().run().then(() => process.exit(0), (error) => {
  process.stderr.write(String(error.stack || error) + '\n');
  process.exit(1);
});

// Opens pages in a Chromium and says what is wrong with them, in the font of the machine and in two of our own.
//
// Reads {chromium, screenshots, pages: [{name, url, status}]} from standard input; writes a line {name, problems} for each
// page. The page has no script of its own; what runs in it here comes from the driver, past the content security policy.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const { resolve } = createRequire(import.meta.url);
const axe = readFileSync(resolve('axe-core/axe.min.js'), 'utf8');
const job = JSON.parse(readFileSync(0, 'utf8'));

// A phone as narrow as WCAG asks for, a tablet, a desktop.
const WIDTHS = [320, 768, 1440];

// What fits must not depend on what is installed: a font of which a digit is a quarter of an em wide, and one of which it is a
// whole em, which is as wide as digits get.
const FONTS = [
  { name: 'narrow', file: '@fontsource/six-caps/files/six-caps-latin-400-normal.woff2', digitEm: [0.1, 0.35] },
  { name: 'wide', file: '@fontsource/press-start-2p/files/press-start-2p-latin-400-normal.woff2', digitEm: [0.95, 1.05] },
].map(({ file, ...font }) => ({ ...font, base64: readFileSync(resolve(file), 'base64') }));

const browser = await chromium.launch({ executablePath: job.chromium, args: ['--no-sandbox'] });
try {
  for (const page of job.pages) {
    console.log(JSON.stringify({ name: page.name, problems: await check(page) }));
  }
} finally {
  await browser.close();
}

async function check({ name, url, status }) {
  const problems = [];
  const context = await browser.newContext({ viewport: { width: WIDTHS[0], height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const origin = new URL(url).origin;
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== origin) problems.push(`asks elsewhere: ${request.url()}`);
  });
  page.on('console', (message) => {
    // A browser reports the status of the document as an error too.
    if (message.type() === 'error' && !message.text().includes(`status of ${status}`)) problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(`script error: ${error.message}`));
  page.on('dialog', (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  const response = await page.goto(url);
  if (response.status() !== status) problems.push(`status ${response.status()}`);
  await page.evaluate(axe);
  const isLarge = (await page.locator('*').count()) > 3000;
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const at = `${width} px, ${colorScheme}`;
      for (const rules of rulesAt(width, colorScheme, isLarge)) {
        const { violations } = await page.evaluate((options) => globalThis.axe.run(document, options), rules);
        for (const { id, help, nodes } of violations) {
          problems.push(`${at}: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' ')}`);
        }
      }
      for (const problem of await page.evaluate(look, colorScheme)) problems.push(`${at}: ${problem}`);
      if (job.screenshots) {
        await page.screenshot({ path: `${job.screenshots}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      }
    }
  }
  problems.push(...(await walk(page)));
  await page.emulateMedia({ colorScheme: 'light' });
  for (const font of FONTS) {
    const width = await page.evaluate(setFont, font);
    if (!(width >= font.digitEm[0] && width <= font.digitEm[1])) problems.push(`${font.name} font: a digit is ${width} em wide`);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      for (const problem of await page.evaluate(look, 'light')) problems.push(`${width} px, ${font.name} font: ${problem}`);
      if (job.screenshots) {
        await page.screenshot({ path: `${job.screenshots}/${name}-${width}-${font.name}.png`, fullPage: true });
      }
    }
  }
  await context.close();
  return problems;
}

// Runs in the page: sets all text in a font, and returns the width of a digit in em. A font and a stylesheet that a script
// makes are not loaded, so the page's content security policy has no say in them and stays as it is.
async function setFont({ name, base64 }) {
  const face = new FontFace(name, Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
  document.fonts.add(await face.load());
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`* { font-family: "${name}", sans-serif !important; }`);
  document.adoptedStyleSheets = [sheet];
  const digits = document.createElement('span');
  digits.textContent = '0123456789';
  digits.style.cssText = 'position: absolute; font-size: 100px; white-space: nowrap';
  document.body.append(digits);
  const { width } = digits.getBoundingClientRect();
  digits.remove();
  return width / 1000;
}

// Colours are those of a scheme at any width, and the slowest to look at; the rest does not depend on colours. A large page
// has more of the same, so there one width does.
function rulesAt(width, colorScheme, isLarge) {
  const colours = ['color-contrast', 'link-in-text-block'];
  const resultTypes = ['violations'];
  if (width === WIDTHS[0]) return [colorScheme === 'light' ? { resultTypes } : { resultTypes, runOnly: colours }];
  if (colorScheme === 'dark' || isLarge) return [];
  return [{ resultTypes, rules: Object.fromEntries(colours.map((rule) => [rule, { enabled: false }])) }];
}

// Runs in the page: what axe does not look for.
function look(colorScheme) {
  const problems = [];
  const root = document.documentElement;
  if (document.scripts.length > 0) problems.push('has a script');
  if (root.scrollWidth > root.clientWidth) problems.push(`is ${root.scrollWidth} px wide, in a window of ${root.clientWidth}`);
  const [red] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
  if (red > 128 !== (colorScheme === 'light')) problems.push(`the ground is not ${colorScheme}`);
  const drawing = document.querySelector('svg.timeline');
  if (!drawing) return problems;
  const frame = drawing.getBoundingClientRect();
  const isInside = (box) => box.left >= frame.left - 2 && box.right <= frame.right + 2 && box.bottom <= frame.bottom + 2;
  const isShown = (shape) => shape.getClientRects().length > 0;
  if (![...drawing.querySelectorAll('.mark')].some(isShown)) problems.push('no time on the axis');
  for (const shape of [...drawing.querySelectorAll('rect.bar, rect.gap, line.tick, text:not(.label)')].filter(isShown)) {
    const box = shape.getBoundingClientRect();
    if (!isInside(box)) problems.push(`drawn outside: ${shape.outerHTML.slice(0, 160)}`);
    const hit = shape.matches('rect.bar') && shape.parentElement.querySelector('.hit');
    const border = hit ? parseFloat(getComputedStyle(hit).strokeWidth) : 0;
    if (shape.matches('rect.bar') && (box.width + border < 8 || box.height < 16)) problems.push('a bar that nobody can hit');
  }
  for (const kind of ['.mark', '.gap-length']) {
    const boxes = [...drawing.querySelectorAll(kind)].filter(isShown).map((text) => text.getBoundingClientRect());
    boxes.sort((a, b) => a.top - b.top || a.left - b.left);
    const overlap = boxes.some((box, index) => {
      const next = boxes[index + 1];
      return next && next.left < box.right && next.top < box.bottom && next.bottom > box.top;
    });
    if (overlap) problems.push(`texts ${kind} overlap`);
  }
  return problems;
}

// Tabs through the page: every stop is seen, has a name, and shows that it has the focus.
async function walk(page) {
  const problems = [];
  for (let stop = 0; stop < 40; stop += 1) {
    await page.keyboard.press('Tab');
    const found = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const box = element.getBoundingClientRect();
      const bar = element.querySelector('.bar');
      const isMarked = bar
        ? parseFloat(getComputedStyle(bar).strokeWidth) >= 4
        : getComputedStyle(element).outlineStyle !== 'none';
      const isSeen = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
      return { html: element.outerHTML.slice(0, 120), isMarked, isSeen };
    });
    if (found === null) break;
    if (!found.isMarked) problems.push(`focus is not shown: ${found.html}`);
    if (!found.isSeen) problems.push(`focus is out of sight: ${found.html}`);
  }
  return problems;
}

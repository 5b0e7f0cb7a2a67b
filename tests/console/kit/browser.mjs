// A browser whose pages are watched: console errors, policy reports, requests that leave, accessibility.
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { PATIENCE, root } from './server.mjs'

const require = createRequire(path.join(root, 'console/package.json'))
const { chromium } = require('playwright-core')
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
const executablePath = process.env.TEST_CHROMIUM ?? '/usr/bin/chromium'

export async function openBrowser() {
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}

/** A person at a browser of their own: cookies, size, colours. */
export class Person {
  static async arrive(browser, server, { width = 1280, scheme = 'light' } = {}) {
    const person = new Person()
    person.server = server
    person.wrong = []
    person.context = await browser.newContext({
      baseURL: server.url, colorScheme: scheme, locale: 'en-GB', timezoneId: 'Europe/Amsterdam', reducedMotion: 'reduce', viewport: { width, height: width < 500 ? 844 : 900 }, permissions: ['clipboard-read', 'clipboard-write'],
    })
    person.context.setDefaultTimeout(PATIENCE)
    // Init scripts are exempt from the page's policy, so the real one is under test.
    await person.context.addInitScript(axe)
    await person.context.addInitScript(() => {
      window.__reports = []
      document.addEventListener('securitypolicyviolation', (event) => window.__reports.push(`${event.violatedDirective} ${event.blockedURI}`))
    })
    person.context.on('request', (request) => {
      const to = new URL(request.url())
      if (!['blob:', 'data:'].includes(to.protocol) && to.origin !== server.url) person.wrong.push(`a request to ${to.origin}`)
    })
    person.page = await person.context.newPage()
    // The browser itself writes a line for an answer of 4xx or 5xx; those that a test asks for are expected.
    person.page.on('console', (message) => {
      if (message.type() === 'error' && !/^Failed to load resource: the server responded with a status of [45]\d\d/.test(message.text())) person.wrong.push(`console: ${message.text()}`)
    })
    person.page.on('pageerror', (error) => person.wrong.push(`page: ${error.message}`))
    return person
  }

  button(name, options = {}) {
    return this.page.getByRole('button', { name, exact: true, ...options })
  }

  async press(name) {
    await this.button(name).click()
  }

  async fill(label, text) {
    await this.page.getByLabel(label, { exact: true }).fill(text)
  }

  async sees(text) {
    await this.page.getByText(text).first().waitFor()
  }

  async go(address) {
    await this.page.goto(address)
    await this.page.getByRole('heading', { level: 1 }).waitFor()
  }

  async login(name, password) {
    await this.go('/login')
    await this.fill('Name', name)
    await this.fill('Password', password)
    await this.press('Log in')
    await this.page.locator('#main').waitFor()
  }

  /** Nothing wrong with the page as it is: colours as they are now. */
  async check(where) {
    const { page } = this
    // What a change of size or colours sets off is drawn a frame later.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
    await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect?.getTiming().iterations !== Infinity).map((one) => one.finished.catch(() => undefined))))
    const found = await page.evaluate(async () => {
      const { violations } = await window.axe.run(document, { resultTypes: ['violations'] })
      return violations.map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.target.join(' ')).join(', ')}`)
    })
    assert.deepEqual(found, [], `axe finds nothing on ${where}`)
    assert.deepEqual(await page.evaluate(() => window.__reports), [], `no policy report on ${where}`)
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `${where} does not scroll sideways`)
    assert.deepEqual(this.wrong, [], `nothing went wrong on ${where}`)
  }

  /** The same in both colour schemes, wide and narrow. */
  async checkAll(where) {
    for (const width of [1280, 390]) {
      await this.page.setViewportSize({ width, height: width < 500 ? 844 : 900 })
      for (const colorScheme of ['light', 'dark']) {
        await this.page.emulateMedia({ colorScheme })
        await this.page.locator(`html[data-mantine-color-scheme='${colorScheme}']`).waitFor()
        await this.check(`${where}, ${colorScheme}, ${width} px`)
      }
    }
    await this.page.setViewportSize({ width: 1280, height: 900 })
    await this.page.emulateMedia({ colorScheme: 'light' })
  }

  async leave() {
    assert.deepEqual(this.wrong, [])
    await this.context.close()
  }
}

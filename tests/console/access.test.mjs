// Roles, ended sessions, users and tokens.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openBrowser, Person } from './kit/browser.mjs'
import { Server } from './kit/server.mjs'

const PASSWORD = 'a sentence to keep in mind'

describe('who may do what', () => {
  let server, browser
  before(async () => {
    server = await Server.start()
    browser = await openBrowser()
    for (const role of ['admin', 'operator', 'viewer']) await server.api('POST', '/users', { name: role, password: PASSWORD, role })
    await server.api('POST', '/devices', { name: 'greenhouse-1' })
  })
  after(async () => {
    await browser?.close()
    await server?.stop()
  })

  it('a wrong password is refused in words', async () => {
    const person = await Person.arrive(browser, server)
    await person.go('/login')
    await person.fill('Name', 'admin')
    await person.fill('Password', 'not the one at all')
    await person.press('Log in')
    await person.page.getByText('wrong_login').waitFor()
    await person.checkAll('login refused')
    await person.leave()
  })

  it('a viewer sees what may not be done, and why', async () => {
    const person = await Person.arrive(browser, server)
    await person.login('viewer', PASSWORD)
    const { page } = person
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Devices' }).click()
    await page.getByRole('link', { name: 'greenhouse-1' }).click()
    await page.getByRole('navigation', { name: 'Parts of this device' }).getByRole('link', { name: 'Settings' }).click()
    const remove = page.getByRole('button', { name: 'Remove device' })
    await remove.waitFor()
    assert.equal(await remove.getAttribute('aria-disabled'), 'true')
    assert.equal(await remove.getAttribute('title'), 'Needs the operator role')
    await remove.click({ force: true })
    assert.equal(await page.getByRole('dialog').count(), 0)
    await person.checkAll('device settings of a viewer')
    await person.go('/integrations/new')
    await person.sees('Needs the operator role')
    await person.go('/settings/users')
    await person.sees('Needs the admin role.')
    await person.leave()
  })

  it('an operator adds devices but not users', async () => {
    const person = await Person.arrive(browser, server)
    await person.login('operator', PASSWORD)
    await person.go('/devices/new')
    await person.fill('Name', 'by-the-operator')
    await person.press('Add device')
    await person.page.getByRole('heading', { name: 'by-the-operator is ready' }).waitFor()
    await person.go('/settings/tokens')
    await person.sees('Needs the admin role.')
    await person.leave()
  })

  it('an administrator adds a user and a token, and reads who did what', async () => {
    const person = await Person.arrive(browser, server)
    await person.login('admin', PASSWORD)
    const { page } = person
    await person.go('/settings/users')
    await person.press('Add user')
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('grace')
    await page.getByRole('dialog').getByLabel('Password', { exact: true }).fill(PASSWORD)
    await person.checkAll('add user')
    await page.getByRole('dialog').getByRole('button', { name: 'Add user' }).click()
    await page.getByRole('cell', { name: 'grace' }).waitFor()
    await person.checkAll('users')
    await person.go('/settings/tokens')
    await person.press('Make a token')
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('grafana')
    await page.getByRole('dialog').getByRole('button', { name: 'Make token' }).click()
    const token = await page.getByRole('region', { name: 'token', exact: true }).innerText()
    await person.checkAll('token, once')
    await person.press('I have copied it')
    await page.getByRole('cell', { name: 'grafana' }).waitFor()
    assert.ok(!(await page.content()).includes(token), 'the token is shown once')
    await person.go('/settings/audit')
    await page.getByRole('cell', { name: 'token.create' }).first().waitFor()
    await person.checkAll('audit')
    for (const part of ['sessions', 'about', 'you']) {
      await person.go(`/settings/${part}`)
      await page.getByRole('heading', { level: 2 }).first().waitFor()
      await person.checkAll(part)
    }
    await person.leave()
  })

  it('an ended session leads to the login and back to the page', async () => {
    const person = await Person.arrive(browser, server)
    await person.login('operator', PASSWORD)
    await person.go('/devices?q=green')
    await person.page.getByRole('link', { name: 'greenhouse-1' }).waitFor()
    const { items } = await server.api('GET', '/sessions?user=operator')
    for (const one of items) await server.api('DELETE', `/sessions/${one.id}`)
    await person.page.getByLabel('Search devices').fill('greenhouse')
    await person.sees('Your session ended')
    await person.checkAll('login after the session ended')
    await person.fill('Name', 'operator')
    await person.fill('Password', PASSWORD)
    await person.press('Log in')
    await person.page.getByRole('heading', { name: 'Devices', level: 1 }).waitFor()
    assert.match(person.page.url(), /\/devices\?q=green/)
    await person.leave()
  })

  it('on a phone the menu opens, leads on and closes', async () => {
    const person = await Person.arrive(browser, server, { width: 390, scheme: 'dark' })
    await person.login('viewer', PASSWORD)
    const { page } = person
    await person.press('Open menu')
    await person.check('menu on a phone')
    await page.getByRole('link', { name: 'Devices' }).click()
    await page.getByRole('heading', { name: 'Devices', level: 1 }).waitFor()
    await person.button('Open menu').waitFor()
    await person.check('devices on a phone')
    await person.leave()
  })
})

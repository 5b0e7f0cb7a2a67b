// Each way in which a login at a hub fails: what was wrong in a sentence, and what to do.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import { openBrowser, Person } from './kit/browser.mjs'
import { Server, until } from './kit/server.mjs'

const KEY = Buffer.alloc(32, 5).toString('base64')
const PASSWORD = 'a sentence to keep in mind'

/** Strings that are wrong in themselves. The page says so while they are pasted; the server has the same word for each. */
const pasted = [
  ['bad_connection_string', 'just some text', /not a connection string/],
  ['bad_connection_string', `HostName=a.azure-devices.net;SharedAccessKeyName=p;SharedAccessKey=${KEY};`, /ends in ";"/],
  ['missing_field', 'HostName=a.azure-devices.net;SharedAccessKeyName=p', /SharedAccessKey= is missing/],
  ['missing_field', `HostName=a.azure-devices.net;SharedAccessKey=${KEY}`, /which policy this key belongs to/],
  ['duplicate_field', `HostName=a.azure-devices.net;HostName=b.azure-devices.net;SharedAccessKeyName=p;SharedAccessKey=${KEY}`, /HostName= stands twice/],
  ['unknown_field', `HostName=a.azure-devices.net;SharedAccessKeyName=p;SharedAccessKey=${KEY};Colour=blue`, /Colour= does not belong/],
  ['bad_key', 'HostName=a.azure-devices.net;SharedAccessKeyName=p;SharedAccessKey=cut-off', /The key is cut off/],
  ['device_string', `HostName=a.azure-devices.net;DeviceId=pump-3;SharedAccessKey=${KEY}`, /one device \(DeviceId=pump-3\)/],
  ['event_hubs_string', `Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=service;SharedAccessKey=${KEY};EntityPath=p`, /built-in endpoint/],
]

const failedAt = (n) => Array.from({ length: 4 }, (_, at) => (at < n ? 'done' : at === n ? 'failed' : 'to-do'))
const stagesOf = { host_not_allowed: failedAt(1), unknown_host: failedAt(1), no_answer: failedAt(1), tls_not_trusted: failedAt(1), wrong_key: failedAt(2), no_write: failedAt(3), no_read: failedAt(3) }

describe('a login that fails says why', () => {
  let server, browser, ada, closed
  before(async () => {
    closed = await new Promise((done) => {
      const once = net.createServer().listen(0, '127.0.0.1', () => {
        const { port } = once.address()
        once.close(() => done(port))
      })
    })
    server = await Server.start('--allow-hub', 'nowhere.invalid', '--allow-hub', `localhost:${closed}`)
    await server.api('POST', '/users', { name: 'ada', password: PASSWORD, role: 'admin' })
    browser = await openBrowser()
    ada = await Person.arrive(browser, server)
    await ada.login('ada', PASSWORD)
    await ada.go('/integrations/new')
    await ada.page.getByRole('button', { name: /^Microsoft Azure/ }).click()
    await ada.press('Next')
  })
  after(async () => {
    await ada?.leave()
    await browser?.close()
    await server?.stop()
  })

  const field = () => ada.page.getByLabel('Connection string', { exact: true })
  const again = async () => {
    if (await ada.button('Paste again').isVisible()) await ada.press('Paste again')
    await field().fill('')
  }

  const says = async (remedy) => {
    const box = ada.page.locator('#login-remedy')
    await until(`the remedy ${remedy}`, async () => (await box.count()) === 1 && remedy.test(await box.innerText()))
    return box
  }

  for (const [code, string, words] of pasted) {
    it(`${code}: ${words.source}`, async () => {
      await again()
      await field().fill(string)
      await ada.page.locator('#login-error').getByText(words).waitFor()
      assert.ok((await ada.page.locator('#login-remedy').innerText()).length > 40)
      assert.match(await field().getAttribute('aria-describedby'), /login-error login-remedy/)
      // The server finds the same.
      await assert.rejects(server.api('POST', '/integrations/login', { connection_string: string }), new RegExp(`"code":"${code}"`))
    })
  }

  const at = (host, key = KEY, policy = 'registryReadWrite') => `HostName=${host};SharedAccessKeyName=${policy};SharedAccessKey=${key}`
  const own = (policy) => server.hub.connection_strings[policy]
  const asked = [
    ['host_not_allowed', () => at('evil.example'), /--allow-hub/],
    ['unknown_host', () => at('nowhere.invalid'), /name in the portal/],
    ['no_answer', () => at(`localhost:${closed}`), /firewall or proxy/],
    ['tls_not_trusted', () => own('registryReadWrite'), /no switch to ignore/, { fault: 'certificate', as: 'untrusted' }],
    ['wrong_key', () => own('registryReadWrite').replace(/SharedAccessKey=.*/, `SharedAccessKey=${KEY}`), /the key was regenerated/],
    ['no_write', () => own('registryRead'), /tick Registry Write/],
    ['no_read', () => own('service'), /Registry/],
  ]
  for (const [code, string, remedy, fault] of asked) {
    it(`${code}: the server asks, and its word is shown with a remedy`, async () => {
      if (fault) await server.fault(fault)
      await again()
      await field().fill(string())
      await ada.press('Login')
      const box = await says(remedy)
      if (fault) await server.fault()
      const stages = ada.page.getByRole('list', { name: 'Login, stage by stage' }).getByRole('listitem')
      assert.deepEqual(await stages.evaluateAll((all) => all.map((one) => one.className)), stagesOf[code], 'what was good, what failed, what was not tried')
      assert.match(await box.textContent(), new RegExp(`Code ${code === 'no_read' ? 'no_(read|write)' : code}`))
      assert.ok(!(await ada.page.locator('#main').innerText()).includes('SharedAccessKey=' + KEY.slice(0, 8)) || code !== 'wrong_key')
    })
  }

  it('a hub that is slow shows where the login stands, stage by stage', async () => {
    // Answers are held until the hub's clock is moved, so that each stage stays as long as it is looked at.
    await server.fault({ fault: 'delay', ms: 30_000 })
    await again()
    await field().fill(own('registryReadWrite'))
    await ada.press('Login')
    const stages = ada.page.getByRole('list', { name: 'Login, stage by stage' }).getByRole('listitem')
    const seen = (wanted) => until(wanted.join(', '), async () => JSON.stringify(await stages.evaluateAll((all) => all.map((one) => one.className))) === JSON.stringify(wanted))
    const held = (requests) => until(`request ${requests} is held`, async () => (await server.govern('GET', 'faults')).some((one) => one.hits >= requests))
    const letGo = () => server.govern('POST', 'clock', { advance_ms: 30_000 })
    await seen(['done', 'busy', 'to-do', 'to-do'])
    await held(1)
    await letGo()
    await seen(['done', 'done', 'busy', 'to-do'])
    await held(2)
    await letGo()
    await seen(['done', 'done', 'done', 'busy'])
    await held(3)
    await server.fault()
    await letGo()
    await ada.sees(/^Logged in to /)
    await ada.press('Use another string')
  })

  // What a healthy hub cannot be made to answer is answered in its place, as the server words it.
  for (const [code, remedy] of [['clock_skew', /clock/], ['quota', /00:00 UTC/], ['hub_disabled', /Subscriptions in the portal/], ['throttled', /slow down/]]) {
    it(`${code}: shown with a remedy`, async () => {
      await ada.page.route('**/api/v1/drafts/*/login', (route) => route.fulfill({
        status: 422, contentType: 'application/problem+json',
        body: JSON.stringify({ status: 422, code, message: `localhost answers ${code}`, remedy: 'set this server\'s clock, then log in again', field: 'connection_string' }),
      }))
      await again()
      await field().fill(own('registryReadWrite'))
      await ada.press('Login')
      await says(remedy)
      await ada.page.unroute('**/api/v1/drafts/*/login')
    })
  }

  it('errors are readable in both colour schemes and on a phone', async () => {
    await ada.checkAll('a refused login')
  })

  it('a right string logs in after all that', async () => {
    await again()
    await field().fill(own('registryReadWrite'))
    await ada.press('Login')
    await ada.sees(/^Logged in to /)
  })
})

// Alarms as a person meets them: noticed, read, acknowledged, over; and told to a webhook.
import assert from 'node:assert/strict'
import crypto from 'node:crypto'
import http from 'node:http'
import { after, before, describe, it } from 'node:test'
import { openBrowser, Person } from './kit/browser.mjs'
import { Server, until } from './kit/server.mjs'

const PASSWORD = 'a sentence to keep in mind'

/** A target on loopback that takes every notice. */
async function listen() {
  const seen = []
  const target = http.createServer((request, response) => {
    let body = ''
    request.on('data', (part) => { body += part })
    request.on('end', () => {
      seen.push({ headers: request.headers, body })
      response.writeHead(204).end()
    })
  })
  await new Promise((done) => target.listen(0, '127.0.0.1', done))
  return { seen, url: `http://127.0.0.1:${target.address().port}/hooks/T0K3N`, close: () => new Promise((done) => { target.close(done); target.closeAllConnections() }) }
}

describe('alarms', () => {
  let server, browser, ada, vic, target, device
  before(async () => {
    server = await Server.start('--allow-webhook', '127.0.0.1')
    target = await listen()
    await server.api('POST', '/users', { name: 'ada', password: PASSWORD, role: 'admin' })
    await server.api('POST', '/users', { name: 'vic', password: PASSWORD, role: 'viewer' })
    device = await server.api('POST', '/devices', { name: 'greenhouse-1' })
    await server.api('POST', '/integrations', { name: 'PyComTemp', connection_string: server.hub.connection_strings.registryReadWrite, topic: 'Temp', devices: [{ device: 'greenhouse-1' }] })
    await until('the integration', async () => (await server.api('GET', '/integrations/PyComTemp')).state === 'active')
    browser = await openBrowser()
    ada = await Person.arrive(browser, server)
    await ada.login('ada', PASSWORD)
  })
  after(async () => {
    await vic?.leave()
    await ada?.leave()
    await browser?.close()
    await server?.stop()
    await target?.close()
  })

  let secret
  it('sets a webhook whose address and secret are shown once, and tests it', async () => {
    await ada.go('/settings/notices')
    await ada.sees('Nobody is told of alarms.')
    await ada.press('Set a webhook')
    await ada.fill('Address', 'https://elsewhere.example/')
    await ada.press('Set webhook')
    await ada.sees('the operator did not allow it')
    await ada.fill('Address', target.url)
    await ada.press('Set webhook')
    secret = (await ada.page.getByText(/^hubward_webhook_/).first().textContent()).trim()
    await ada.checkAll('webhook, set')
    await ada.press('I have copied it')
    await ada.press('Send a test')
    await ada.sees('Taken: HTTP 204')
    assert.equal(JSON.parse(target.seen.shift().body).event, 'test')
    assert.ok(!(await ada.page.content()).includes('T0K3N'))
  })

  it('shows an alarm with what to do, counts it in the menu, and only an operator may acknowledge it', async () => {
    await ada.go('/alarms')
    await ada.sees('Nothing needs you.')
    await ada.checkAll('alarms, none')
    await server.fault({ fault: 'quota' })
    await server.publish(device.id, device.password, 'temperature', '21.5')
    await until('the alarm', async () => (await server.api('GET', '/alarms')).items.some((alarm) => alarm.kind === 'quota_used_up'))
    await ada.go('/alarms')
    await ada.page.getByRole('heading', { name: "The hub's messages of today are used up" }).waitFor()
    await ada.page.getByRole('link', { name: /^Alarms\s*1$/ }).waitFor()
    await ada.checkAll('alarms')
    vic = await Person.arrive(browser, server, { width: 390 })
    await vic.login('vic', PASSWORD)
    await vic.go('/alarms')
    await vic.page.getByRole('button', { name: 'Acknowledge', disabled: true }).waitFor()
    await vic.checkAll('alarms of a viewer')
    await ada.press('Acknowledge')
    await ada.sees('Acknowledged by ada')
    await ada.page.getByRole('link', { name: 'Alarms', exact: true }).waitFor()
  })

  it('tells the webhook, signed, and shows what is over', async () => {
    await server.fault()
    await server.api('POST', `/hubs/${(await server.api('GET', '/hubs')).items[0].host_name}/reconnect`)
    await until('its end', async () => (await server.api('GET', '/alarms/totals')).open === 0)
    const ofQuota = () => target.seen.filter(({ body }) => body.includes('quota_used_up'))
    await until('both notices', () => ofQuota().length >= 2)
    const notices = ofQuota().map(({ headers, body }) => {
      const signature = `sha256=${crypto.createHmac('sha256', secret).update(body).digest('hex')}`
      assert.equal(headers['x-hubward-signature'], signature)
      return JSON.parse(body)
    })
    assert.deepEqual(notices.map((notice) => [notice.event, notice.alarm.kind]), [['raised', 'quota_used_up'], ['cleared', 'quota_used_up']])
    await ada.go('/alarms')
    await ada.sees('Nothing needs you.')
    await ada.press('Over')
    await ada.page.getByRole('heading', { name: "The hub's messages of today are used up" }).waitFor()
    await ada.checkAll('alarms, over')
  })

  it('switches the alarm of a device off that is meant to be silent', async () => {
    await ada.go(`/devices/${device.id}/settings`)
    await ada.press('Switch the alarm off')
    await ada.sees('No alarm when it sends nothing.')
    await ada.checkAll('device settings')
    assert.equal((await server.api('GET', '/devices/greenhouse-1/silence')).watched, false)
  })
})

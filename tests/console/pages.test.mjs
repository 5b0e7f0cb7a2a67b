// Lists, dead letters, import and the other pages, with something in them.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openBrowser, Person } from './kit/browser.mjs'
import { Server, until } from './kit/server.mjs'

const PASSWORD = 'a sentence to keep in mind'
const TOKEN = '9f26c1d0-1111-4222-8333-444455556666'

describe('the other pages', () => {
  let server, browser, ada, device
  before(async () => {
    server = await Server.start()
    await server.api('POST', '/users', { name: 'ada', password: PASSWORD, role: 'admin' })
    device = await server.api('POST', '/devices', { name: 'greenhouse-1' })
    await server.api('POST', '/integrations', { name: 'PyComTemp', connection_string: server.hub.connection_strings.registryReadWrite, topic: 'Temp', devices: [{ device: 'greenhouse-1' }] })
    await until('the integration', async () => (await server.api('GET', '/integrations/PyComTemp')).state === 'active')
    browser = await openBrowser()
    ada = await Person.arrive(browser, server)
    await ada.login('ada', PASSWORD)
  })
  after(async () => {
    await ada?.leave()
    await browser?.close()
    await server?.stop()
  })

  it('imports devices from a CSV: checked, added, and the same again adds nothing', async () => {
    const { page } = ada
    await ada.go('/devices/import')
    await ada.fill('CSV', `name,kind,token\ngreenhouse-1,mqtt,\nwipy-7,pycom,${TOKEN}\nbad/name,mqtt,\npump-3,mqtt,\n`)
    await ada.press('Check')
    await ada.sees('2 new, 1 there already, 1 refused.')
    await ada.checkAll('import, checked')
    await ada.press('Add 2 devices')
    await page.getByRole('heading', { name: '3. Result' }).waitFor()
    const saved = page.waitForEvent('download')
    await ada.press('Download result')
    assert.equal((await saved).suggestedFilename(), 'devices.csv')
    await ada.checkAll('import, result')
    assert.equal((await server.api('GET', '/devices')).items.length, 3)
  })

  it('finds devices among many by name and state, from the address too', async () => {
    const { page } = ada
    const lines = Array.from({ length: 300 }, (_, n) => `sensor-${String(n).padStart(3, '0')}`)
    await ada.go('/devices/import')
    await ada.fill('CSV', `name\n${lines.join('\n')}\n`)
    await ada.press('Check')
    await ada.press('Add 300 devices')
    await page.getByRole('heading', { name: '3. Result' }).waitFor()
    await ada.go('/devices')
    await ada.sees('303 devices')
    assert.ok(await page.getByRole('row').count() < 60, 'only what is in view is drawn')
    await page.getByLabel('Search devices').fill('sensor-29')
    await ada.sees('10 devices found')
    await ada.checkAll('devices')
    await page.reload()
    await ada.sees('10 devices found')
    await ada.press('Signals/h')
    await page.locator('[aria-sort="ascending"]', { hasText: 'Signals/h' }).waitFor()
  })

  it('retries a dead letter when the hub takes it again', async () => {
    const { page } = ada
    await server.fault({ fault: 'poison', containing: 'poisonous' })
    await server.publish(device.id, device.password, 'temperature', 'poisonous')
    await until('the dead letter', async () => (await server.api('GET', '/deadletters')).items.length === 1)
    await ada.go('/dead-letters')
    await page.getByRole('cell', { name: 'greenhouse-1', exact: true }).waitFor()
    await ada.checkAll('dead letters')
    await page.getByRole('row').last().getByRole('button').first().click()
    await page.getByRole('dialog').getByRole('heading', { name: 'As the hub would get it now' }).waitFor()
    await page.getByRole('dialog').getByText('poisonous', { exact: true }).waitFor()
    await ada.checkAll('one dead letter')
    await page.keyboard.press('Escape')
    await server.fault()
    await page.getByRole('row').last().getByRole('button', { name: 'Retry', exact: true }).click()
    await ada.sees('1 signal was accepted by the hub.')
    await ada.sees('None. Signals that a hub refuses for good would be here with the reason.')
    await ada.checkAll('no dead letters')
  })

  it('discards a dead letter only after saying how many', async () => {
    const { page } = ada
    await server.fault({ fault: 'poison', containing: 'poisonous' })
    await server.publish(device.id, device.password, 'temperature', 'poisonous again')
    await until('the dead letter', async () => (await server.api('GET', '/deadletters')).items.length === 1)
    await page.reload()
    await ada.press('Discard all')
    await page.getByRole('dialog').getByRole('heading', { name: 'Discard 1 dead letter' }).waitFor()
    await ada.checkAll('discard')
    await page.getByRole('dialog').getByRole('button', { name: 'Discard', exact: true }).click()
    await ada.sees('1 dead letter discarded.')
    await server.fault()
  })

  it('lists deliveries and opens the trace of one', async () => {
    const { page } = ada
    await server.publish(device.id, device.password, 'temperature', '21.5')
    await until('the acceptance', async () => (await server.api('GET', '/signals?state=accepted')).items.some((one) => one.text === '21.5'))
    await ada.go('/deliveries?state=accepted')
    const row = page.getByRole('row', { name: /21\.5/ })
    await row.getByText('Accepted').waitFor()
    await ada.checkAll('deliveries')
    await row.getByRole('button').click()
    await page.getByText('Accepted by the hub: PyComTemp').waitFor()
    await ada.checkAll('one signal')
  })

  it('shows all signals live, and those that a filter asks for', async () => {
    const { page } = ada
    await ada.go('/live')
    await page.getByRole('row', { name: /21\.5/ }).waitFor()
    await page.getByText('Live', { exact: true }).last().waitFor()
    await server.publish(device.id, device.password, 'temperature', '22.75')
    await page.getByRole('row', { name: /22\.75/ }).waitFor()
    await ada.checkAll('live, all devices')
  })

  it('shows the hub with what was used today', async () => {
    const { page } = ada
    await ada.go('/hubs')
    await ada.checkAll('hubs')
    await page.getByRole('row').last().getByRole('link').first().click()
    await page.getByRole('group', { name: 'Connections' }).waitFor()
    await ada.checkAll('hub')
  })

  it('tells when and why a device came and went, rotates its secret and removes it', async () => {
    const { page } = ada
    await ada.go(`/devices/${device.id}/connections`)
    await page.getByRole('cell', { name: 'MQTT 3.1.1' }).first().waitFor()
    await ada.checkAll('connections')
    await page.getByRole('navigation', { name: 'Parts of this device' }).getByRole('link', { name: 'Settings' }).click()
    await ada.press('Rotate secret')
    await page.getByRole('dialog').getByRole('button', { name: 'Rotate', exact: true }).click()
    const secret = await page.getByTestId('Password').innerText()
    assert.notEqual(secret, device.password)
    await ada.checkAll('rotated')
    await ada.press('I have copied it')
    await server.publish(device.id, secret, 'temperature', '23')
    await until('nothing waits', async () => (await server.api('GET', `/devices/${device.id}`)).integrations.every((one) => one.waiting === 0))
    await ada.press('Remove device')
    const dialog = page.getByRole('dialog')
    await dialog.getByText(/its identity is deleted/).waitFor()
    await ada.checkAll('remove device')
    await dialog.getByLabel('Type greenhouse-1 to confirm').fill('greenhouse-1')
    await dialog.getByRole('button', { name: 'Remove device' }).click()
    await ada.sees('greenhouse-1 is removed')
    await page.getByRole('heading', { name: 'Devices', level: 1 }).waitFor()
  })

  it('makes an integration with the local hub without pasting anything', async () => {
    const { page } = ada
    await ada.go('/integrations/new')
    await page.getByRole('button', { name: /^Local hub/ }).click()
    await ada.press('Login')
    await ada.sees(/^Logged in to /)
    await ada.press('Next')
    await ada.fill('Name', 'Everything')
    await page.getByRole('checkbox', { name: 'All devices, also all future devices' }).check()
    await ada.press('Create 302 devices')
    await page.getByRole('heading', { name: 'Everything', level: 1 }).waitFor()
    await until('all identities', async () => (await server.api('GET', '/integrations/Everything?devices=false')).state === 'active')
    await page.getByRole('heading', { name: 'Devices (302)' }).waitFor()
    await ada.checkAll('an integration of many devices')
  })
})

// Lists, dead letters, import and the other pages, with something in them.
import assert from 'node:assert/strict'
import fs from 'node:fs'
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
    await page.getByText('First sent: PyComTemp').waitFor()
    await ada.checkAll('one signal')
    const stations = page.getByRole('list').filter({ hasText: 'Received from the device' }).getByRole('listitem')
    assert.deepEqual(await stations.locator('strong').allInnerTexts(), ['Received from the device', 'Durable on disk', 'First sent: PyComTemp', 'Accepted by the hub: PyComTemp'])
    // Each has its time: of the first that of the day, of the others what passed since.
    for (const line of (await stations.locator('span.dim').allInnerTexts()).slice(1)) assert.match(line, /^\+ /)
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
    await page.getByRole('link', { name: 'PyComTemp' }).last().click()
    await page.getByRole('combobox', { name: 'Tier' }).click()
    await page.getByRole('option', { name: /^S1/ }).click()
    await ada.fill('Units', '2')
    await ada.checkAll('edit, with the size of the hub')
    await ada.press('Save')
    await ada.sees('S1, 2 units')
    await ada.go('/hubs')
    await page.getByRole('row').last().getByRole('link').first().click()
    await page.getByRole('group', { name: 'Quota used today' }).getByText(/of 800,000/).waitFor()
    await ada.checkAll('hub with its quota')
  })

  it('shows how identities differ from the hub, and repairs what may be', async () => {
    const { page } = ada
    await ada.go('/integrations')
    await page.getByRole('link', { name: 'PyComTemp' }).click()
    const drift = page.locator('section.card', { has: page.getByRole('heading', { name: 'Drift' }) })
    const [bound] = (await server.api('GET', '/integrations/PyComTemp/devices')).items
    await server.identity(bound.hub_device_id, { status: 'disabled' })
    await drift.getByRole('button', { name: 'Reconcile now' }).click()
    await drift.getByRole('row', { name: /greenhouse-1.*Disabled/ }).waitFor()
    await ada.checkAll('drift')
    await server.identity(bound.hub_device_id, { status: 'enabled' })
    await drift.getByRole('button', { name: 'Reconcile now' }).click()
    await drift.getByText(/^Nothing differs so far/).waitFor()
  })

  it('tells when and why a device came and went, rotates its secret and removes it', async () => {
    const { page } = ada
    await ada.go(`/devices/${device.id}/connections`)
    await page.getByRole('cell', { name: 'MQTT 3.1.1' }).first().waitFor()
    await ada.checkAll('connections')
    await page.getByRole('navigation', { name: 'Parts of this device' }).getByRole('link', { name: 'Settings' }).click()
    const rotate = async (overlap) => {
      await ada.press('Rotate secret')
      const dialog = page.getByRole('dialog')
      await dialog.getByLabel(overlap).check()
      await ada.checkAll(`rotate, ${overlap}`)
      await dialog.getByRole('button', { name: 'Rotate', exact: true }).click()
      const secret = await page.getByTestId('Password').innerText()
      await ada.checkAll(`rotated, ${overlap}`)
      await ada.press('I have copied it')
      await dialog.waitFor({ state: 'hidden' })
      return secret
    }
    const next = await rotate('For 24 hours more')
    assert.notEqual(next, device.password)
    await page.getByText('greenhouse-1 was not seen with the new one yet.').waitFor()
    await server.publish(device.id, device.password, 'temperature', '22.5')
    await server.publish(device.id, next, 'temperature', '22.6')
    await page.getByText('greenhouse-1 uses the new one.').waitFor()
    await ada.checkAll('two secrets count')
    const secret = await rotate('No longer: it ends at once')
    for (const old of [device.password, next]) await assert.rejects(server.publish(device.id, old, 'temperature', '0'), 'the old ones ended')
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

  it('finds devices, integrations, pages and commands by Ctrl K', async () => {
    const { page } = ada
    await ada.go('/')
    await page.keyboard.press('Control+k')
    const box = page.getByRole('combobox', { name: 'Search' })
    await box.fill('sensor-12')
    await page.getByRole('option', { name: /sensor-127/ }).waitFor()
    await ada.checkAll('search and commands')
    await page.keyboard.press('ArrowDown')
    const second = page.locator('[role=option][aria-selected=true] .name')
    const name = (await second.innerText()).split(' ')[0]
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name, level: 1 }).waitFor()
    await ada.button('Search and commands').click()
    await box.fill('pycomtemp')
    await page.getByRole('option', { name: /PyComTemp/ }).click()
    await page.getByRole('heading', { name: 'PyComTemp', level: 1 }).waitFor()
    await page.keyboard.press('Control+k')
    await box.fill('import')
    await page.getByRole('option', { name: /Import devices/ }).waitFor()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Import devices', level: 1 }).waitFor()
  })

  it('adds many chosen devices to an integration, and removes many, by their number', async () => {
    const { page } = ada
    await ada.go('/devices?q=sensor-29')
    await ada.sees('10 devices found')
    await page.getByRole('checkbox', { name: 'Choose sensor-290' }).check()
    await ada.sees('1 chosen')
    await ada.press('Choose all 10 found')
    await ada.sees('10 chosen')
    await ada.checkAll('devices chosen')
    await ada.press('Add to an integration')
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('combobox', { name: 'Integration' }).click()
    await page.getByRole('option', { name: /^PyComTemp/ }).click()
    await ada.checkAll('add many to an integration')
    await dialog.getByRole('button', { name: 'Add 10 devices' }).click()
    await until('ten more', async () => (await server.api('GET', '/integrations/PyComTemp/devices')).items.filter((one) => one.device.startsWith('sensor-29') && one.state === 'delivering').length === 10)
    // The list was not asked for again by hand: the server said what changed.
    await until('the list says so', async () => (await page.getByRole('row', { name: /sensor-29\d.*PyComTemp/ }).count()) === 10)
    await ada.go('/devices?q=sensor-27')
    await page.getByRole('checkbox', { name: 'Choose sensor-270' }).check()
    await page.getByRole('checkbox', { name: 'Choose sensor-271' }).check()
    await ada.press('Rotate secrets')
    await dialog.getByLabel('For an hour more').check()
    await ada.checkAll('rotate many')
    await dialog.getByRole('button', { name: 'Rotate 2 devices' }).click()
    await dialog.getByRole('heading', { name: 'New secrets of 2 devices' }).waitFor()
    await ada.checkAll('many rotated')
    const download = page.waitForEvent('download')
    await dialog.getByRole('button', { name: 'Download as CSV' }).click()
    const lines = fs.readFileSync(await (await download).path(), 'utf8').trim().split('\r\n').map((line) => line.split(','))
    assert.deepEqual([lines[0].join(','), lines.length], ['name,id,kind,username,password,token,old_until', 3])
    for (const [, id, , , secret] of lines.slice(1)) await server.publish(id, secret, 'temperature', '1')
    await dialog.getByRole('button', { name: 'I have saved them' }).click()
    await dialog.waitFor({ state: 'hidden' })
    await ada.go('/devices?q=sensor-28')
    await page.getByRole('checkbox', { name: 'Choose sensor-280' }).check()
    await page.getByRole('checkbox', { name: 'Choose sensor-281' }).check()
    await ada.button('Remove').click()
    await dialog.getByLabel('Type 2 devices to confirm').fill('2 devices')
    await ada.checkAll('remove many')
    await dialog.getByRole('button', { name: 'Remove 2 devices' }).click()
    await ada.sees('2 devices removed.')
    await ada.sees('8 devices found')
  })

  it('moves by itself: what others do is seen without a reload', async () => {
    const { page } = ada
    await ada.go('/integrations')
    await page.getByRole('link', { name: 'PyComTemp' }).click()
    await page.getByRole('img', { name: /^Delivered per minute/ }).waitFor()
    await ada.checkAll('an integration with its minutes')
    await server.api('POST', '/integrations/PyComTemp/pause')
    await page.getByText('Resume sends them on.').waitFor()
    await server.api('POST', '/integrations/PyComTemp/resume')
    await page.getByText('Resume sends them on.').waitFor({ state: 'hidden' })
    await ada.go('/devices?q=brand-new')
    await ada.sees('Nothing matches.')
    await server.api('POST', '/devices', { name: 'brand-new' })
    await page.getByRole('row', { name: /brand-new/ }).waitFor()
    await server.api('DELETE', '/devices/brand-new')
    await ada.sees('Nothing matches.')
  })

  it('says on the overview what a subscriber was not sent, how many, whose, and what to do', async () => {
    const { page } = ada
    const board = await server.api('POST', '/devices', { name: 'small-board' })
    await ada.go('/')
    await page.getByRole('heading', { name: 'Integrations', level: 2 }).waitFor()
    await server.command(board.id, 'firmware', 'x'.repeat(500))
    const hangUp = server.listen(board.id, board.password, 200)
    // The page is not loaded again: the server says that there is something to see.
    const card = page.locator('section.card', { has: page.getByRole('heading', { name: 'Dropped messages' }) })
    const row = card.getByRole('row', { name: /^Messages were larger than their subscriber said it takes\./ })
    await row.waitFor().finally(hangUp)
    // Once, or more often if it had to connect again.
    assert.match(await row.getByRole('cell').nth(1).innerText(), /^[1-9]\d*$/)
    await row.getByText('Let the subscriber announce a larger maximum packet size').waitFor()
    await ada.checkAll('overview with dropped messages')
    await row.getByRole('link', { name: 'small-board' }).click()
    await page.getByRole('heading', { name: 'small-board', level: 1 }).waitFor()
    assert.ok((await server.api('GET', '/alarms?state=all')).items.every((alarm) => alarm.kind !== 'mqtt_dropped'), 'it is the client that asked for it')
    await ada.go('/')
    await server.api('DELETE', '/devices/small-board')
  })

  it('shows a throttled hub with the time of the next try', async () => {
    const { page } = ada
    await server.fault({ fault: 'quota' })
    const [pump] = (await server.api('GET', '/devices?q=pump-3')).items
    const { password } = await server.api('POST', `/devices/${pump.id}/rotate`)
    await server.api('PATCH', '/integrations/PyComTemp', { add_devices: [{ device: 'pump-3' }] })
    await server.publish(pump.id, password, 'pressure', '7')
    await ada.go('/hubs')
    await page.getByRole('row').last().getByRole('link').first().click()
    await page.getByText(/Next try/).locator('time').first().waitFor()
    assert.match(await page.locator('time.until').first().innerText(), /^(in \d+ (s|min|h)|now)$/)
    await ada.checkAll('a hub whose quota is used up')
    await server.fault()
    await ada.press('Try now')
    await page.getByText(/Next try/).waitFor({ state: 'hidden' })
  })

  it('shows keys, rotates them, and shows each limit with who set it', async () => {
    const { page } = ada
    await ada.go('/settings/keys')
    const id = async () => (await page.locator('dt', { hasText: /^Id$/ }).locator('xpath=following-sibling::dd[1]').innerText()).trim()
    const before = await id()
    await ada.checkAll('keys')
    await ada.press('Rotate keys')
    await ada.checkAll('rotate keys')
    await page.getByRole('dialog').getByRole('button', { name: 'Rotate keys' }).click()
    await page.getByText(/sealed again/).waitFor()
    await until('another id', async () => (await id()) !== before)
    await ada.checkAll('keys rotated')
    await ada.go('/settings/limits')
    await page.getByRole('row', { name: /journal\.limit 10GiB default/ }).waitFor()
    await page.getByRole('row', { name: /^data .* --data/ }).waitFor()
    await ada.checkAll('limits')
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
    await ada.press('Create 300 devices')
    await page.getByRole('heading', { name: 'Everything', level: 1 }).waitFor()
    await until('all identities', async () => (await server.api('GET', '/integrations/Everything?devices=false')).state === 'active')
    await page.getByRole('heading', { name: 'Devices (300)' }).waitFor()
    await ada.checkAll('an integration of many devices')
  })
})

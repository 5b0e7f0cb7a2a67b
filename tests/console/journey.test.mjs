// From a fresh start to a signal in the hub, and everything after it, as one person does it in a browser.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { openBrowser, Person } from './kit/browser.mjs'
import { HubReader, Server, until } from './kit/server.mjs'

const run = promisify(execFile)
const PASSWORD = 'a sentence to keep in mind'

describe('a person who has never seen Hubward', () => {
  let server, browser, ada, reader
  const device = {}
  before(async () => {
    server = await Server.start()
    browser = await openBrowser()
    ada = await Person.arrive(browser, server)
  })
  after(async () => {
    await browser?.close()
    await reader?.close()
    await server?.stop()
  })

  it('makes the administrator with the one-time link and finds the checklist', async () => {
    await ada.go(server.ports.setup_url)
    assert.equal(new URL(ada.page.url()).hash, '', 'the token leaves the address')
    await ada.press('Create administrator')
    await ada.sees('Choose a name to log in with.')
    await ada.checkAll('first start with mistakes')
    await ada.fill('Name', 'ada')
    await ada.fill('Password', PASSWORD)
    await ada.fill('Password again', PASSWORD)
    await ada.press('Create administrator')
    await ada.sees('From nothing to a signal in your hub: 1 of 5 done')
    await ada.checkAll('overview with checklist')
  })

  it('adds a device, sees its secret once, and its first signal by the line the page shows', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'Add device' }).click()
    await ada.fill('Name', 'bad/name')
    await ada.press('Add device')
    await page.getByText('What to do').waitFor()
    await ada.checkAll('add a device with a mistake')
    await ada.fill('Name', 'greenhouse-1')
    await ada.press('Add device')
    await page.getByRole('heading', { name: 'greenhouse-1 is ready' }).waitFor()
    device.id = await page.getByTestId('Device id').innerText()
    device.secret = await page.getByTestId('Password').innerText()
    assert.equal(device.secret.length >= 43, true)
    await ada.sees('Waiting for greenhouse-1…')
    await ada.checkAll('credentials')
    const line = await page.getByRole('region', { name: 'mosquitto_pub snippet' }).innerText()
    await ada.press('Copy mosquitto_pub snippet')
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), line)
    await run('sh', ['-c', line])
    await ada.sees('Received 28.1')
    await ada.go('/')
    await ada.sees('3 of 5 done')
  })

  it('shows the az script and the Bicep file of a hub to be made, checked as it is typed', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'Integrations', exact: true }).click()
    await page.getByRole('link', { name: 'New integration' }).first().click()
    await page.getByRole('button', { name: /^Microsoft Azure/ }).click()
    await page.getByRole('radio', { name: 'I need to make one' }).check()
    await ada.fill('Hub name', 'no')
    await ada.sees(/it must have 3 to 50/)
    await ada.fill('Resource group', 'plant.')
    await ada.sees(/ends in a period/)
    await ada.checkAll('step 1 with mistakes')
    await ada.fill('Hub name', 'contoso-plant')
    await ada.fill('Resource group', 'plant')
    const script = page.getByRole('region', { name: 'az commands' })
    await script.waitFor()
    assert.match(await script.innerText(), /az iot hub create .*contoso-plant[\s\S]*registryReadWrite/)
    await page.getByText('Bicep file', { exact: true }).click()
    assert.match(await page.getByRole('region', { name: 'Bicep file' }).innerText(), /Microsoft\.Devices\/IotHubs/)
    await ada.checkAll('step 1 with script')
    await ada.press('I have made it')
  })

  it('logs in with the pasted string and goes on where it was after a reload', async () => {
    const { page } = ada
    await ada.fill('Connection string', `"${server.hub.connection_strings.registryReadWrite}"\n`)
    await ada.sees('characters, hidden')
    await ada.checkAll('step 2, recognised')
    await ada.press('Login')
    await ada.sees(/^Logged in to /)
    await ada.checkAll('step 2, logged in')
    assert.match(page.url(), /draft=/)
    await ada.press('Next')
    await ada.fill('Name', 'PyComTemp')
    // The draft is stored by the server; a fresh page has it, without the string.
    const saved = page.waitForResponse((answer) => answer.request().method() === 'PATCH' && answer.url().includes('/drafts/') && answer.request().postData()?.includes('PyComTemp'))
    await ada.fill('Messages topic', 'Temp')
    await saved
    await page.reload()
    await page.getByRole('heading', { name: 'As the hub will receive it' }).waitFor()
    assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'PyComTemp')
    assert.ok(!(await page.content()).includes(server.hub.connection_strings.registryReadWrite.split('SharedAccessKey=')[1]))
  })

  it('chooses the device, sees the message as the hub will get it, and creates', async () => {
    const { page } = ada
    await ada.fill('Messages topic', 'Temp')
    await page.getByRole('checkbox', { name: 'greenhouse-1' }).check()
    await page.getByText('The last signal of greenhouse-1.').waitFor()
    await page.getByRole('region', { name: 'body as text' }).getByText('28.1').waitFor()
    await ada.sees(`greenhouse-1-${device.id}`)
    await ada.checkAll('step 3')
    await ada.press('Create 1 device')
    await page.getByRole('heading', { name: 'PyComTemp', level: 1 }).waitFor()
    await page.getByText('Delivering').first().waitFor()
    const { hub, host_name } = await server.api('GET', '/integrations/PyComTemp')
    for (const [name, text] of [['Service', 'Microsoft Azure'], ['Azure IoT Hub', hub], ['Hostname', host_name], ['Messages topic', 'Temp'], ['Devices count', '1']]) {
      await page.locator('dt', { hasText: new RegExp(`^${name}$`) }).locator('xpath=following-sibling::dd[1]').getByText(text, { exact: true }).waitFor()
    }
    await ada.checkAll('summary')
  })

  it('sends a signal that Microsoft\'s reader finds in the hub, and the checklist is done', async () => {
    reader = new HubReader(server.hub.connection_strings.eventhubs)
    await server.publish(device.id, device.secret, 'temperature', '29.5')
    const event = await reader.find('the signal in the hub', (one) => Buffer.from(one.body, 'base64').toString() === '29.5')
    assert.equal(event.device, `greenhouse-1-${device.id}`)
    assert.equal(event.properties.topic, 'Temp')
    await ada.go('/')
    await ada.page.getByRole('group', { name: 'Devices connected' }).waitFor()
    await until('the first acceptance', async () => (await server.api('GET', '/overview')).first.accepted)
    await ada.page.reload()
    await ada.page.getByRole('heading', { name: 'Integrations' }).waitFor()
    await ada.checkAll('overview, all done')
  })

  it('sends a test message and hears the hub\'s word', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'PyComTemp' }).click()
    await ada.press('Send test message')
    await page.getByRole('dialog').getByRole('button', { name: 'Send', exact: true }).click()
    await page.getByRole('dialog').getByText('Accepted', { exact: true }).waitFor()
    await ada.checkAll('test message')
    const event = await reader.find('the test message', (one) => one.properties['hubward-test'] === 'true')
    assert.equal(event.device, `greenhouse-1-${device.id}`)
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'hidden' })
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Send test message', 'focus returns')
  })

  it('edits the topic and the devices, and the next signal carries the new topic', async () => {
    const { page } = ada
    const second = await server.api('POST', '/devices', { name: 'pump-3' })
    await page.getByRole('link', { name: 'Edit' }).click()
    await ada.fill('Messages topic', 'Climate')
    await page.getByRole('checkbox', { name: 'pump-3' }).check()
    await ada.sees(/1 device joins/)
    await ada.checkAll('edit')
    await ada.press('Save')
    await page.getByRole('heading', { name: 'Devices (2)' }).waitFor()
    await until('both deliver', async () => {
      const { items } = await server.api('GET', '/integrations/PyComTemp/devices')
      return items.length === 2 && items.every((one) => one.state === 'delivering')
    })
    await server.publish(second.id, second.password, 'pressure', '7.25')
    const event = await reader.find('the signal of the second', (one) => Buffer.from(one.body, 'base64').toString() === '7.25')
    assert.equal(event.properties.topic, 'Climate')
  })

  it('removes one device from it; its identity goes, the other stays', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'Edit' }).click()
    await page.getByRole('checkbox', { name: 'pump-3' }).uncheck()
    await ada.sees(/1 device leaves: pump-3/)
    await ada.press('Save')
    await page.getByRole('heading', { name: 'Devices (1)' }).waitFor()
    await page.getByText('1 identity deleted.').waitFor()
  })

  it('finds the form as it was saved, though the server answers slowly', async () => {
    const { page } = ada
    const slow = (address) => address.pathname.endsWith('/devices') && address.pathname.includes('/integrations/')
    await page.route(slow, async (route) => {
      await new Promise((done) => setTimeout(done, 1_000))
      await route.continue()
    })
    await page.getByRole('link', { name: 'Edit' }).click()
    await page.getByRole('checkbox', { name: 'greenhouse-1', checked: true }).waitFor()
    assert.equal(await page.getByRole('checkbox', { name: 'pump-3' }).isChecked(), false)
    await page.unroute(slow)
    await page.getByRole('link', { name: 'Cancel' }).click()
    await page.getByRole('heading', { name: 'Devices (1)' }).waitFor()
  })

  it('replaces a connection string, and says precisely what is wrong with a bad one', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'Edit' }).click()
    const good = server.hub.connection_strings.iothubowner
    const rolled = good.replace(/SharedAccessKey=.*/, `SharedAccessKey=${Buffer.alloc(32, 7).toString('base64')}`)
    await ada.fill('New connection string', rolled)
    await ada.press('Save')
    await page.getByText('wrong_key').waitFor()
    await ada.checkAll('edit with a wrong key')
    await ada.fill('New connection string', good)
    await ada.press('Save')
    await page.getByRole('heading', { name: 'PyComTemp', level: 1 }).waitFor()
    await page.locator('dd', { hasText: 'iothubowner' }).waitFor()
  })

  it('watches a chart that moves when the device publishes, and opens a trace', async () => {
    const { page } = ada
    await ada.go(`/devices/${device.id}/live`)
    const chart = page.getByRole('img', { name: /^temperature/ })
    await chart.waitFor()
    await page.getByText('Live', { exact: true }).last().waitFor()
    const points = async () => Number(await chart.getAttribute('data-points'))
    const had = await points()
    await server.publish(device.id, device.secret, 'temperature', '30.25', '31.75')
    await until('two more points', async () => (await points()) === had + 2)
    assert.match(await chart.getAttribute('aria-label'), /last 31\.75/)
    await page.getByText('Accepted by the hub: PyComTemp').first().waitFor()
    await ada.checkAll('live')
    await ada.press('Pause')
    await server.publish(device.id, device.secret, 'temperature', '33')
    await ada.sees('Paused, 1 held back')
    assert.equal(await points(), had + 2)
    await ada.press('Go on')
    await until('what was held back', async () => (await points()) === had + 3)
  })

  it('gives a signal a name and a unit', async () => {
    const { page } = ada
    await page.getByRole('link', { name: 'Signals', exact: true }).click()
    await ada.sees('Undefined')
    await ada.press('Define')
    await ada.fill('Name', 'Temperature')
    await ada.fill('Unit', '°C')
    await ada.press('Save')
    await page.getByRole('cell', { name: 'Temperature', exact: true }).first().waitFor()
    await page.getByRole('img', { name: /^Temperature/ }).waitFor()
    await ada.checkAll('signals')
  })

  it('pauses, resumes and reconciles', async () => {
    const { page } = ada
    await ada.go('/integrations')
    await ada.checkAll('integrations')
    await page.getByRole('link', { name: 'PyComTemp' }).click()
    await ada.press('Pause')
    await ada.button('Resume').waitFor()
    await page.getByText('Resume sends them on.').waitFor()
    await ada.press('Resume')
    await ada.button('Pause').waitFor()
    await ada.press('Reconcile')
    await ada.sees('Compared with the hub')
  })

  it('deletes it by its name and learns which identities went', async () => {
    const { page } = ada
    // What still waits would be discarded, and be counted too.
    await until('nothing waits', async () => (await server.api('GET', '/integrations/PyComTemp?devices=false')).waiting === 0)
    await ada.button('More').click()
    await page.getByRole('menuitem', { name: 'Delete integration' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText(`greenhouse-1-${device.id}`).waitFor()
    await ada.checkAll('delete dialog')
    const sure = dialog.getByRole('button', { name: 'Delete integration' })
    assert.equal(await sure.getAttribute('aria-disabled'), 'true')
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'INPUT', 'focus starts in the field')
    await dialog.getByLabel('Type PyComTemp to confirm').fill('PyComTemp')
    await sure.click()
    await page.getByText('1 identity deleted.').waitFor()
    await ada.sees('Signals stay on this server until you add a destination.')
    assert.deepEqual(await server.api('GET', '/integrations').then((page) => page.items), [])
    await ada.leave()
  })
})

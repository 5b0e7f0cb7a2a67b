// Writes docs/screenshots/*.png: a small greenhouse that sends to the local hub, as the console shows it.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { openBrowser, Person } from './kit/browser.mjs'
import { root, Server, until } from './kit/server.mjs'

const folder = path.join(root, 'docs/screenshots')
const PASSWORD = 'a sentence to keep in mind'
/** Signals of the picture with the chart, a quarter of a second apart. */
const SIGNALS = 48

fs.mkdirSync(folder, { recursive: true })
const server = await Server.start()
const browser = await openBrowser()
try {
  const ada = await Person.arrive(browser, server)
  const { page } = ada
  const shoot = async (name) => {
    await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect?.getTiming().iterations !== Infinity).map((one) => one.finished.catch(() => undefined))))
    await page.mouse.move(0, 0)
    await page.screenshot({ path: path.join(folder, `${name}.png`) })
  }
  await page.setViewportSize({ width: 1200, height: 760 })

  await ada.go(server.ports.setup_url)
  await ada.fill('Name', 'ada')
  await ada.fill('Password', PASSWORD)
  await ada.fill('Password again', PASSWORD)
  await ada.press('Create administrator')
  await ada.sees('1 of 5 done')
  const device = await server.api('POST', '/devices', { name: 'greenhouse-1' })
  for (const name of ['cold-room', 'pump-3', 'valve-9']) await server.api('POST', '/devices', { name })
  await server.api('POST', '/devices', { name: 'JimsPyComWiPy', kind: 'pycom' })
  await ada.sees('3. Send its first signal')
  await ada.page.reload()
  await page.getByRole('region', { name: 'mosquitto_pub snippet' }).waitFor()
  await shoot('overview')

  await server.publish(device.id, device.password, 'temperature', '27.4')
  await ada.go('/integrations/new')
  await page.getByRole('button', { name: /^Microsoft Azure/ }).click()
  await ada.press('Next')
  await ada.fill('Connection string', 'HostName=contoso-plant.azure-devices.net;DeviceId=pump-3;SharedAccessKey=cHVtcCAz')
  await ada.sees('What to do')
  await shoot('login-mistake')
  await ada.fill('Connection string', server.hub.connection_strings.registryReadWrite)
  await ada.press('Login')
  await ada.press('Next')
  await ada.fill('Name', 'PyComTemp')
  await ada.fill('Messages topic', 'Temp')
  await page.getByRole('button', { name: /^Select all/ }).click()
  await page.getByText('The last signal of greenhouse-1.').waitFor()
  await shoot('new-integration')
  await page.getByRole('button', { name: /^Create/ }).click()
  await page.getByRole('heading', { name: 'PyComTemp', level: 1 }).waitFor()
  await until('the integration', async () => (await server.api('GET', '/integrations/PyComTemp?devices=false')).state === 'active')

  await server.api('PUT', `/devices/${device.id}/series/temperature`, { name: 'Temperature', unit: '°C' })
  await page.emulateMedia({ colorScheme: 'dark' })
  await ada.go(`/devices/${device.id}/live`)
  for (let n = 0; n < SIGNALS; n += 1) {
    await server.publish(device.id, device.password, 'temperature', (27 + 1.6 * Math.sin(n / 7) + 0.2 * Math.sin(n * 1.7)).toFixed(3))
    await new Promise((done) => setTimeout(done, 250))
  }
  await page.getByText('Accepted by the hub: PyComTemp').waitFor()
  await shoot('device-live')
  await page.emulateMedia({ colorScheme: 'light' })
  await ada.go('/integrations')
  await page.getByRole('link', { name: 'PyComTemp' }).click()
  await page.getByRole('heading', { name: 'Integration details' }).waitFor()
  await page.getByRole('img', { name: /^Delivered per minute/ }).waitFor()
  await shoot('integration')
  await page.setViewportSize({ width: 390, height: 780 })
  await page.emulateMedia({ colorScheme: 'dark' })
  await ada.go(`/devices/${device.id}/live`)
  await page.getByRole('img', { name: /^Temperature/ }).waitFor()
  await shoot('phone')
  await ada.leave()
} finally {
  await browser.close()
  await server.stop()
}
console.log(execFileSync('ls', ['-l', folder], { encoding: 'utf8' }))

// Names for what the API answers; the shapes come from its document (schema.d.ts).
import type { components } from './schema'

type Schemas = components['schemas']

/** An answer as it comes: what the document calls optional may be null, or left out where it means nothing. */
export type Whole<T> = T extends (infer Item)[] ? Whole<Item>[] : T extends object ? { [Key in keyof T]-?: Whole<Exclude<T[Key], undefined>> } : T

export interface Page<T> { items: T[]; next: string | null }

export type Session = Whole<Schemas['SessionShow']>
export type Overview = Whole<Schemas['Overview']>
export type ClientName = Whole<Schemas['ClientName']>
export type About = Whole<Schemas['About']>
export type DeviceRow = Whole<Schemas['DeviceRow']>
export type Device = Omit<Whole<Schemas['DeviceShow']>, 'told'> & { told: Told }
export type Credentials = Schemas['Credentials']
export type Snippets = Whole<Schemas['Snippets']>
export type Connection = Whole<Schemas['ConnectionRow']>
export type DeviceRemoval = Whole<Schemas['DeviceRemoval']>
export type Delivery = Whole<Schemas['DeliveryLine']>
export type Signal = Whole<Schemas['SignalLine']>
export type SignalTrace = Whole<Schemas['SignalShow']>
export type Station = Whole<Schemas['Station']>
export type Series = Whole<Schemas['SeriesRow']>
export type Point = Whole<Schemas['Point']>
export type Integration = Whole<Schemas['IntegrationShow']>
export type Bound = Whole<Schemas['BoundDevice']>
export type Failed = Whole<Schemas['ProgressDevice']>
export type RemovalPreview = Whole<Schemas['RemovalPreview']>
export type Removal = Whole<Schemas['Removal']>
export type LoginFound = Whole<Schemas['LoginFound']>
export type MessageShown = Whole<Schemas['MessageShow']>
export type Preview = Whole<Schemas['Preview']>
export type Advice = Whole<Schemas['Advice']>
export type DeadLetter = Whole<Schemas['DeadLetterRow']>
export type DeadLetterGroup = Whole<Schemas['DeadLetterGroup']>
export type Selection = Schemas['Selection']
export type Drift = Whole<Schemas['DriftShow']>
export type Alarm = Whole<Schemas['AlarmShow']>
export type Webhook = Whole<Schemas['WebhookShow']>
export type Hub = Whole<Schemas['HubShow']>
export type Setting = Whole<Schemas['SettingShow']>
export type User = Whole<Schemas['UserRow']>
export type Token = Whole<Schemas['TokenRow']>
export type ImportLine = Schemas['CsvLine']
export type PreviewInput = Schemas['PreviewWanted']
export type IntegrationInput = Schemas['DraftCreate']
export type IntegrationChange = Schemas['IntegrationEdit']

/** What a board told of itself; the document leaves these open, as firmwares differ. */
export interface Told {
  info: ({ at: string } & Record<string, unknown>) | null
  network: { at: string; mac: string; ip: string } | null
  scan: { at: string; networks: { bssid: string; channel: number; rssi: number }[] } | null
  battery: { at: string; level: number } | null
}

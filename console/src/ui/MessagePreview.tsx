import type { MessageShown } from '../api/types'
import { bytes, plural } from '../lib/format'
import { Facts } from './Page'
import { Body } from './TraceCard'

/** One message exactly as the hub gets it. */
export function MessagePreview({ message }: { message: MessageShown }) {
  return (
    <div className="stack-s">
      <p className="dim small">{message.sample ? 'A sample: no signal came yet.' : `The last signal of ${message.device ?? 'a device'}.`} {bytes(message.size)}, {plural(message.units_4k, 'message')} of 4 KB.</p>
      <Facts items={[
        ['message-id', <code key="m">{message.message_id}</code>],
        ['content-type', message.content_type && <code key="c">{message.content_type}</code>],
        ['content-encoding', message.content_encoding && <code key="e">{message.content_encoding}</code>],
        ['created', message.creation_time && <code key="t">{message.creation_time}</code>],
        ...message.properties.map(([name, text]) => [name, <code key={name}>{text}</code>] as [string, React.ReactNode]),
      ]} />
      <strong>Body</strong>
      <Body base64={message.body_base64} />
    </div>
  )
}

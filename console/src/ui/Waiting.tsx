import { Loader } from '@mantine/core'

/** Something is on its way. */
export function Waiting({ words = 'Loading' }: { words?: string }) {
  return <div className="empty" role="status"><Loader size={22} aria-hidden /><span className="hidden-label">{words}</span></div>
}

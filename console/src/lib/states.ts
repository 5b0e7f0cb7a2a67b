// The states of API, command line and metrics, as the console words them.
import type { Shown } from '../ui/State'

export function deviceState(device: { connected: boolean; last_seen?: string | null | undefined; state?: string | undefined }): Shown {
  // Connected and heard of are two facts: who is silent for much longer than usual is late, connected or not.
  if (device.state === 'late') return { tone: 'amber', word: 'Late' }
  if (device.connected) return { tone: 'green', word: 'Connected' }
  if (device.state === 'refused') return { tone: 'red', word: 'Refused' }
  return device.last_seen ? { tone: 'grey', word: 'Idle' } : { tone: 'grey', word: 'Never seen', dashed: true }
}

export function integrationState(state: string, cause?: string | null): Shown {
  switch (state) {
    case 'active': return { tone: 'green', word: 'Delivering' }
    case 'creating': return { tone: 'blue', word: 'Creating' }
    case 'waiting': return { tone: 'amber', word: cause ? `Held: ${cause}` : 'Held' }
    case 'attention': return { tone: 'red', word: cause ?? 'Needs attention' }
    case 'paused': return { tone: 'grey', word: 'Paused' }
    case 'removing': return { tone: 'blue', word: 'Removing' }
    default: return { tone: 'grey', word: state }
  }
}

export function bindingState(state: string, cause?: string | null): Shown {
  switch (state) {
    case 'delivering': return { tone: 'green', word: 'Delivering' }
    case 'creating': return { tone: 'blue', word: 'Creating' }
    case 'held': return { tone: 'amber', word: cause ? `Held: ${cause}` : 'Held' }
    case 'disabled': return { tone: 'amber', word: 'Held: disabled in Azure' }
    case 'missing': return { tone: 'red', word: 'Identity missing' }
    case 'conflict': return { tone: 'red', word: 'Conflict' }
    case 'removing': return { tone: 'blue', word: 'Removing' }
    default: return { tone: 'grey', word: state }
  }
}

export function alarmState(alarm: { acknowledged_at: string | null; cleared_at: string | null }): Shown {
  if (alarm.cleared_at) return { tone: 'green', word: 'Over' }
  return alarm.acknowledged_at ? { tone: 'amber', word: 'Acknowledged' } : { tone: 'red', word: 'Open' }
}

export function deliveryState(state: string): Shown {
  switch (state) {
    case 'accepted': return { tone: 'green', word: 'Accepted' }
    case 'waiting': return { tone: 'amber', word: 'Waiting' }
    case 'dead_letter': return { tone: 'red', word: 'Dead letter' }
    case 'expired': return { tone: 'grey', word: 'Expired' }
    case 'discarded': return { tone: 'grey', word: 'Discarded' }
    default: return { tone: 'grey', word: state }
  }
}

import { ActionIcon } from '@mantine/core'
import { useState } from 'react'
import { IconCheck, IconCopy } from './icons'

/** Copies, also where the page is not a secure context and the clipboard API is missing. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement('textarea')
    area.value = text
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done
  }
}

/** A button that puts `text` into the clipboard and says so. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false)
  return (
    <ActionIcon variant="subtle" color="gray" size={32} className="copy" aria-label={done ? 'Copied' : `Copy ${label}`} title={done ? 'Copied' : `Copy ${label}`}
      onClick={async () => setDone(await copy(text))} onBlur={() => setDone(false)} onMouseLeave={() => setDone(false)}>
      {done ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}
    </ActionIcon>
  )
}

/** Text to take elsewhere: a command, a secret, a file. */
export function CopyBlock({ text, label }: { text: string; label: string }) {
  return (
    <div className="code">
      <pre tabIndex={0} role="region" aria-label={label}>{text}</pre>
      <CopyButton text={text} label={label} />
    </div>
  )
}

/** Offers `text` as a file. */
export function save(name: string, text: string, type = 'application/json') {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(url), 1000)
}

import { Modal } from '@mantine/core'
import type { ReactNode } from 'react'

/**
 * The only dialog of the console. Mantine's own header would be a second banner landmark, and its close button has no name.
 * Focus starts at the element with `data-autofocus`, Escape closes, and focus returns to where it came from.
 */
export function Dialog({ open, onClose, title, children, size = 620 }: { open: boolean; onClose: () => void; title: string; children: ReactNode; size?: number }) {
  return (
    <Modal.Root opened={open} onClose={onClose} size={size} centered transitionProps={{ duration: 120 }}>
      <Modal.Overlay backgroundOpacity={0.55} />
      <Modal.Content radius={8} aria-label={title}>
        <Modal.Header role="presentation">
          <Modal.Title component="h2">{title}</Modal.Title>
          <Modal.CloseButton aria-label="Close" />
        </Modal.Header>
        <Modal.Body><div className="stack">{children}</div></Modal.Body>
      </Modal.Content>
    </Modal.Root>
  )
}

/** The buttons at a dialog's foot. */
export function DialogFoot({ children }: { children: ReactNode }) {
  return <div className="row" style={{ justifyContent: 'flex-end' }}>{children}</div>
}

import { Button } from '@mantine/core'
import { Component, type ReactNode } from 'react'
import { Note } from './Note'

/** Keeps a page that breaks from taking the menu along. A file that is gone means that the server was updated meanwhile. */
export class Guard extends Component<{ children: ReactNode }, { broken: boolean }> {
  override state = { broken: false }

  static getDerivedStateFromError() {
    return { broken: true }
  }

  override render() {
    if (!this.state.broken) return this.props.children
    return (
      <Note tone="amber" role="alert" title="This page could not be shown">
        The server was probably updated while the page was open. <Button size="xs" variant="default" onClick={() => window.location.reload()}>Reload</Button>
      </Note>
    )
  }
}

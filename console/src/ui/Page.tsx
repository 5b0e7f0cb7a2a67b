import { Button, type ButtonProps } from '@mantine/core'
import { type ReactNode, useEffect, useRef } from 'react'
import { Link, useRoute } from 'wouter'
import { may, useRole, type Role } from '../api/session'

/** A page: where it hangs, its title, what can be done with it. The title is read out when the page changes. */
export function Page({ title, crumbs, sub, actions, form, children }: { title: string; crumbs?: ReactNode; sub?: ReactNode; actions?: ReactNode; form?: boolean; children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => { document.title = `${title} · Hubward` }, [title])
  return (
    <div className={form ? 'page form' : 'page'}>
      <div className="head">
        <div className="grow" style={{ minWidth: 220 }}>
          {crumbs && <nav className="crumbs" aria-label="Breadcrumb">{crumbs}</nav>}
          <h1 ref={heading} tabIndex={-1}>{title}</h1>
          {sub && <div className="sub">{sub}</div>}
        </div>
        {actions && <div className="row">{actions}</div>}
      </div>
      {children}
    </div>
  )
}

/** A group with a heading; the heading is enough to find it, one landmark more for each would be noise. */
export function Card({ title, side, children }: { title?: ReactNode; side?: ReactNode; children: ReactNode }) {
  return (
    <section className="card">
      {side ? <div className="row-wide">{title && <h2>{title}</h2>}<div className="row">{side}</div></div> : title && <h2>{title}</h2>}
      {children}
    </section>
  )
}

export function Tile({ label, value, note, children }: { label: string; value: ReactNode; note?: ReactNode; children?: ReactNode }) {
  return (
    <div className="tile" role="group" aria-label={label}>
      <div className="label">{label}</div>
      <div className="value">{value}</div>
      {note && <div className="note">{note}</div>}
      {children}
    </div>
  )
}

export function Empty({ children, action }: { children: ReactNode; action?: ReactNode }) {
  return <div className="empty"><p>{children}</p>{action}</div>
}

export function Facts({ items }: { items: [string, ReactNode][] }) {
  return <dl className="facts">{items.filter(([, value]) => value !== undefined && value !== null && value !== '').map(([name, value]) => <Fact key={name} name={name} value={value} />)}</dl>
}

function Fact({ name, value }: { name: string; value: ReactNode }) {
  return <><dt>{name}</dt><dd>{value}</dd></>
}

export interface Tab { href: string; name: string }

/** Tabs that are pages of their own, so that each has an address. */
export function Tabs({ tabs, label }: { tabs: Tab[]; label: string }) {
  return <nav className="tabs" aria-label={label}>{tabs.map((tab) => <TabLink key={tab.href} {...tab} />)}</nav>
}

function TabLink({ href, name }: Tab) {
  const [here] = useRoute(href)
  return <Link href={href} aria-current={here ? 'page' : undefined}>{name}</Link>
}

/** A button that some roles may not press: they see it, and read why. */
export function RoleButton({ role, children, onClick, disabled, why, ...rest }: ButtonProps & { role: Role; children: ReactNode; onClick?: () => void; disabled?: boolean; why?: string }) {
  const allowed = may(useRole(), role)
  const reason = allowed ? (disabled ? why : undefined) : `Needs the ${role} role`
  const off = !allowed || disabled
  return (
    <Button {...rest} aria-disabled={off || undefined} data-disabled={off || undefined} title={reason} aria-description={reason} onClick={off ? undefined : onClick}>
      {children}
    </Button>
  )
}

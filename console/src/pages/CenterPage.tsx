import { type ReactNode, useEffect } from 'react'

/** A page without menu: first start and login. */
export function CenterPage({ title, children }: { title: string; children: ReactNode }) {
  useEffect(() => { document.title = `${title} · Hubward` }, [title])
  return (
    <div className="center-page">
      <main>
        <div className="row"><img src="/icon.svg" width={36} height={36} alt="" /><h1>{title}</h1></div>
        {children}
      </main>
    </div>
  )
}

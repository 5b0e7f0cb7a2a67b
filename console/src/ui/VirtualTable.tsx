import { useVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useEffect, useRef } from 'react'
import { count } from '../lib/format'
import { IconSortAscending, IconSortDescending } from './icons'

export interface Column<T> { key: string; title: ReactNode; width: string; cell: (row: T) => ReactNode; sort?: string; right?: boolean }
interface Props<T> {
  label: string
  columns: Column<T>[]
  rows: T[]
  /** How many there are on the server; the rest is asked for at the end. */
  total: number
  rowKey: (row: T) => string
  sort?: { by: string; descending: boolean }
  onSort?: (by: string) => void
  onEnd?: () => void
  minWidth?: number
}

/** A table of any length: only what is in view is drawn, with plain elements and no hooks in a row. */
export function VirtualTable<T>({ label, columns, rows, total, rowKey, sort, onSort, onEnd, minWidth = 0 }: Props<T>) {
  const scroller = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({ count: rows.length, getScrollElement: () => scroller.current, estimateSize: () => 40, overscan: 10 })
  const items = virtual.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  useEffect(() => { if (rows.length > 0 && last >= rows.length - 20) onEnd?.() }, [last, rows.length, onEnd])
  const grid = { gridTemplateColumns: columns.map((column) => column.width).join(' '), '--vt-width': `${minWidth}px` } as React.CSSProperties
  return (
    <div className="vt">
      <div className="vt-scroll" ref={scroller} tabIndex={0} role="region" aria-label={label}>
        <div role="table" aria-label={label} aria-rowcount={total + 1} style={{ minWidth }}>
          <div role="rowgroup">
            <div className="vt-row vt-head" role="row" aria-rowindex={1} style={grid}>
              {columns.map((column) => <Heading key={column.key} column={column} sort={sort} onSort={onSort} />)}
            </div>
          </div>
          <div role="rowgroup" className="vt-body" style={{ height: virtual.getTotalSize() }}>
            {items.map((item) => {
              const row = rows[item.index]!
              return (
                <div key={rowKey(row)} className="vt-row" role="row" aria-rowindex={item.index + 2} style={{ ...grid, transform: `translateY(${item.start}px)` }}>
                  {columns.map((column) => <span key={column.key} role="cell" className={column.right ? 'num' : undefined}>{column.cell(row)}</span>)}
                </div>
              )
            })}
          </div>
        </div>
      </div>
      {total > 200 && <div className="vt-foot">{count(rows.length)} of {count(total)} loaded; scroll for more</div>}
    </div>
  )
}

function Heading<T>({ column, sort, onSort }: { column: Column<T>; sort: Props<T>['sort']; onSort: Props<T>['onSort'] }) {
  const by = column.sort
  const chosen = by !== undefined && sort?.by === by
  return (
    <span role="columnheader" className={column.right ? 'num' : undefined} aria-sort={chosen ? (sort.descending ? 'descending' : 'ascending') : undefined}>
      {by && onSort ? (
        <button type="button" className="sort" onClick={() => onSort(by)}>
          {column.title}{chosen && (sort.descending ? <IconSortDescending size={14} aria-hidden /> : <IconSortAscending size={14} aria-hidden />)}
        </button>
      ) : column.title}
    </span>
  )
}

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The server's own answer for development: HUBWARD_URL=http://127.0.0.1:8080 npx vite
const server = process.env.HUBWARD_URL ?? 'http://127.0.0.1:8080'

// What tells two versions of the API apart, as the server computes it; a page of another one says so.
const api = createHash('sha256').update(readFileSync(new URL('../crates/api/openapi.json', import.meta.url))).digest('hex').slice(0, 24)

export default defineConfig({
  define: { __API__: JSON.stringify(api) },
  plugins: [react()],
  build: {
    target: 'es2022',
    // Inline assets and the polyfill's inline script would need holes in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    emptyOutDir: true,
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': { target: server, changeOrigin: true } } },
})

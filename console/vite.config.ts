import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The server's own answer for development: HUBWARD_URL=http://127.0.0.1:8080 npx vite
const server = process.env.HUBWARD_URL ?? 'http://127.0.0.1:8080'

export default defineConfig({
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

import { MantineProvider } from '@mantine/core'
import { Notifications } from '@mantine/notifications'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { setNonce } from 'get-nonce'
import { createRoot } from 'react-dom/client'
import { ProblemError } from './api/problem'
import { App } from './app'
import './mantine.css'
import './styles.css'
import { cssVariables, theme } from './theme'

// Styles that are made while running carry the nonce that the server put into the page; a dialog's scroll lock asks get-nonce.
const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? ''
setNonce(nonce)

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      retry: (tries, error) => tries < 2 && ProblemError.from(error).status === 0,
    },
  },
})

createRoot(document.getElementById('root')!).render(
  <MantineProvider theme={theme} cssVariablesResolver={cssVariables} defaultColorScheme="auto" getStyleNonce={() => nonce}>
    <QueryClientProvider client={queries}>
      <Notifications position="bottom-right" transitionDuration={0} />
      <App />
    </QueryClientProvider>
  </MantineProvider>,
)

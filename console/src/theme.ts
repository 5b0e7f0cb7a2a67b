import { type CSSVariablesResolver, createTheme } from '@mantine/core'

const blue = ['#e6f0fa', '#cfe2f6', '#a9cbee', '#7fb2e6', '#5a9ade', '#3c84d0', '#1f6fc0', '#0b5cad', '#094c90', '#073c73'] as const

export const theme = createTheme({
  primaryColor: 'brand',
  primaryShade: 7,
  colors: { brand: blue },
  fontFamily: 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  fontSizes: { xs: '12px', sm: '14px', md: '14px', lg: '16px', xl: '18px' },
  defaultRadius: 8,
  respectReducedMotion: true,
  cursorType: 'pointer',
})

// Mantine writes its variables after our style sheet, with equal weight; only its resolver has the last word.
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': '#f6f7f9',
    '--mantine-color-text': '#14181d',
    '--mantine-color-dimmed': '#4c5561',
    '--mantine-color-error': '#a61b1b',
    '--mantine-color-placeholder': '#5f6873',
    '--mantine-color-anchor': '#0b5cad',
    '--mantine-color-default': '#ffffff',
    '--mantine-color-default-hover': '#f0f2f5',
    '--mantine-color-default-border': '#cdd2d9',
    '--mantine-color-default-color': '#14181d',
  },
  dark: {
    '--mantine-color-body': '#15181d',
    '--mantine-color-text': '#e3e6ea',
    '--mantine-color-dimmed': '#aeb6c1',
    '--mantine-color-error': '#ff9b8f',
    '--mantine-color-placeholder': '#98a1ad',
    '--mantine-color-anchor': '#8cc0ff',
    '--mantine-color-default': '#262b32',
    '--mantine-color-default-hover': '#2e343c',
    '--mantine-color-default-border': '#454c56',
    '--mantine-color-default-color': '#e3e6ea',
  },
})

import { notifications } from '@mantine/notifications'

/** A word in the corner that goes by itself: something that was asked for is done. */
export function say(message: string, title?: string) {
  notifications.show({ message, title, autoClose: 8_000, withBorder: true, closeButtonProps: { 'aria-label': 'Close' } })
}
